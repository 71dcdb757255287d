// memberlist-peer is one real memberlist node for the interop tests. It is driven over stdin and reports on stdout, one
// JSON object a line; the same source builds on memberlist v0.2.0 and on the newest version.
//
// Requests: {"id":1,"op":"join","addresses":["127.0.0.2:7980"]}. Answers repeat the id. Events have no id.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

type object map[string]any

var outMu sync.Mutex

func emit(o object) {
	line, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	outMu.Lock()
	defer outMu.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

// logLines turns memberlist's log into events, so that a test can assert that no suspicion was logged.
type logLines struct{}

func (logLines) Write(p []byte) (int, error) {
	emit(object{"event": "log", "text": strings.TrimRight(string(p), "\n")})
	return len(p), nil
}

type delegate struct {
	mu    sync.Mutex
	meta  []byte
	queue *memberlist.TransmitLimitedQueue
}

func (d *delegate) NodeMeta(limit int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.meta
}
func (d *delegate) NotifyMsg(data []byte) {
	emit(object{"event": "message", "data": hex.EncodeToString(data)})
}
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}
func (d *delegate) LocalState(join bool) []byte            { return nil }
func (d *delegate) MergeRemoteState(buf []byte, join bool) {}

type broadcast []byte

func (b broadcast) Invalidates(other memberlist.Broadcast) bool { return false }
func (b broadcast) Message() []byte                             { return b }
func (b broadcast) Finished()                                   {}

func describe(n *memberlist.Node) object {
	o := object{
		"name": n.Name, "address": fmt.Sprintf("%s:%d", n.Addr, n.Port), "addressBytes": hex.EncodeToString(n.Addr),
		"meta": hex.EncodeToString(n.Meta),
	}
	// v0.2.0 has no exported state; its list holds alive and suspect nodes alike.
	if state := reflect.ValueOf(n).Elem().FieldByName("State"); state.IsValid() {
		o["state"] = state.Int()
	}
	return o
}

type events struct{}

func (events) NotifyJoin(n *memberlist.Node)   { o := describe(n); o["event"] = "join"; emit(o) }
func (events) NotifyLeave(n *memberlist.Node)  { o := describe(n); o["event"] = "leave"; emit(o) }
func (events) NotifyUpdate(n *memberlist.Node) { o := describe(n); o["event"] = "update"; emit(o) }

type request struct {
	ID        int      `json:"id"`
	Op        string   `json:"op"`
	Addresses []string `json:"addresses"`
	Data      string   `json:"data"`
	To        string   `json:"to"`
	Reliable  bool     `json:"reliable"`
}

func main() {
	name := flag.String("name", "", "node name")
	bind := flag.String("bind", "127.0.0.1", "address to bind")
	port := flag.Int("port", 7980, "port to bind")
	key := flag.String("key", "", "hex of the secret key; empty: plain")
	extraKeys := flag.String("extra-keys", "", "further keys to read with, hex, comma separated")
	label := flag.String("label", "", "label (newest only)")
	meta := flag.String("meta", "", "hex of the first metadata")
	compress := flag.Bool("compress", true, "compress")
	flag.Parse()

	d := &delegate{}
	d.meta, _ = hex.DecodeString(*meta)
	c := memberlist.DefaultLANConfig()
	c.Name, c.BindAddr, c.BindPort, c.AdvertisePort = *name, *bind, *port, *port
	c.Delegate, c.Events = d, events{}
	c.EnableCompression = *compress
	c.Logger = log.New(logLines{}, "", 0)
	if *key != "" {
		c.SecretKey, _ = hex.DecodeString(*key)
		var further [][]byte
		for _, text := range strings.Split(*extraKeys, ",") {
			if k, err := hex.DecodeString(text); err == nil && len(k) > 0 {
				further = append(further, k)
			}
		}
		ring, err := memberlist.NewKeyring(further, c.SecretKey)
		if err != nil {
			log.Fatal(err)
		}
		c.Keyring = ring
	}
	if *label != "" {
		field := reflect.ValueOf(c).Elem().FieldByName("Label")
		if !field.IsValid() {
			log.Fatal("this memberlist has no labels")
		}
		field.SetString(*label)
	}
	var list *memberlist.Memberlist
	d.queue = &memberlist.TransmitLimitedQueue{RetransmitMult: 3, NumNodes: func() int {
		if list == nil {
			return 1
		}
		return list.NumMembers()
	}}
	var err error
	if list, err = memberlist.Create(c); err != nil {
		log.Fatal(err)
	}
	emit(object{"event": "ready", "name": *name})

	answer := func(id int, o object, err error) {
		if o == nil {
			o = object{}
		}
		o["id"] = id
		if err != nil {
			o["error"] = err.Error()
		}
		emit(o)
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<22)
	for in.Scan() {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			log.Fatal(err)
		}
		data, _ := hex.DecodeString(r.Data)
		switch r.Op {
		case "join":
			n, err := list.Join(r.Addresses)
			answer(r.ID, object{"joined": n}, err)
		case "members":
			found := []object{}
			for _, n := range list.Members() {
				found = append(found, describe(n))
			}
			answer(r.ID, object{"members": found, "health": list.GetHealthScore()}, nil)
		case "meta":
			d.mu.Lock()
			d.meta = data
			d.mu.Unlock()
			answer(r.ID, nil, list.UpdateNode(5*time.Second))
		case "send":
			var to *memberlist.Node
			for _, n := range list.Members() {
				if n.Name == r.To {
					to = n
				}
			}
			switch {
			case to == nil:
				answer(r.ID, nil, fmt.Errorf("no member %q", r.To))
			case r.Reliable:
				answer(r.ID, nil, list.SendReliable(to, data))
			default:
				answer(r.ID, nil, list.SendBestEffort(to, data))
			}
		case "broadcast":
			d.queue.QueueBroadcast(broadcast(data))
			answer(r.ID, nil, nil)
		case "addKey":
			answer(r.ID, nil, c.Keyring.AddKey(data))
		case "useKey":
			answer(r.ID, nil, c.Keyring.UseKey(data))
		case "removeKey":
			answer(r.ID, nil, c.Keyring.RemoveKey(data))
		case "leave":
			answer(r.ID, nil, list.Leave(5*time.Second))
		case "shutdown":
			answer(r.ID, nil, list.Shutdown())
			return
		default:
			answer(r.ID, nil, fmt.Errorf("unknown op %q", r.Op))
		}
	}
}
