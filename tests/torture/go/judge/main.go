// Judge reads a history of registers, one JSON object a line on standard input, and prints one JSON object: whether each
// key is linearizable, and which keys are not.
//
// A write whose outcome is unknown may have happened at any moment after its call, or never.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

type operation struct {
	Client  int    `json:"client"`
	Key     string `json:"key"`
	Kind    string `json:"kind"` // get, put, swap
	Expect  string `json:"expect"`
	Value   string `json:"value"`
	Unknown bool   `json:"unknown"`
	// Of a swap: the expected value was there.
	Swapped bool `json:"swapped"`
	// Microseconds since the campaign began.
	Call   int64 `json:"call"`
	Return int64 `json:"return"`
}

type verdict struct {
	Operations int      `json:"operations"`
	Keys       int      `json:"keys"`
	Broken     []string `json:"broken"`
	// Not decided within the time.
	Undecided []string `json:"undecided"`
}

// The state is the value, "" while there is none.
var register = porcupine.Model{
	Init: func() interface{} { return "" },
	Step: func(state, input, _ interface{}) (bool, interface{}) {
		value, op := state.(string), input.(operation)
		switch op.Kind {
		case "get":
			return op.Value == value, value
		case "put":
			return true, op.Value
		case "swap":
			fits := value == op.Expect
			if fits {
				value = op.Value
			}
			return op.Unknown || op.Swapped == fits, value
		}
		panic("unknown kind of operation: " + op.Kind)
	},
	Equal: func(a, b interface{}) bool { return a == b },
}

func main() {
	perKey := 60 * time.Second
	byKey := map[string][]porcupine.Operation{}
	result := verdict{Broken: []string{}, Undecided: []string{}}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	for lines.Scan() {
		var op operation
		if err := json.Unmarshal(lines.Bytes(), &op); err != nil {
			fmt.Fprintf(os.Stderr, "judge: %v: %s\n", err, lines.Text())
			os.Exit(2)
		}
		result.Operations++
		end := op.Return
		if op.Unknown {
			end = math.MaxInt64
		}
		byKey[op.Key] = append(byKey[op.Key], porcupine.Operation{ClientId: op.Client, Input: op, Call: op.Call, Return: end})
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintf(os.Stderr, "judge: %v\n", err)
		os.Exit(2)
	}
	result.Keys = len(byKey)
	for key, operations := range byKey {
		switch porcupine.CheckOperationsTimeout(register, operations, perKey) {
		case porcupine.Illegal:
			result.Broken = append(result.Broken, key)
		case porcupine.Unknown:
			result.Undecided = append(result.Undecided, key)
		}
	}
	sort.Strings(result.Broken)
	sort.Strings(result.Undecided)
	json.NewEncoder(os.Stdout).Encode(result)
}
