// Encrypts a file in the Go original's format (AES-256-CTR, then HMAC-SHA-512/256 over the plaintext) or compresses it,
// with Go's standard library; prints the elapsed seconds. A peer for bench/snapshot.ts.
package main

import (
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha512"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	data, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	start := time.Now()
	switch os.Args[1] {
	case "seal":
		key := make([]byte, 32)
		block, _ := aes.NewCipher(key)
		stream := cipher.NewCTR(block, make([]byte, 16))
		mac := hmac.New(sha512.New512_256, key)
		out := make([]byte, 32*1024)
		for at := 0; at < len(data); at += len(out) {
			piece := data[at:min(at+len(out), len(data))]
			mac.Write(piece)
			stream.XORKeyStream(out[:len(piece)], piece)
			io.Discard.Write(out[:len(piece)])
		}
		mac.Sum(nil)
	case "gzip":
		writer := gzip.NewWriter(io.Discard)
		writer.Write(data)
		writer.Close()
	}
	fmt.Println(time.Since(start).Seconds())
}
