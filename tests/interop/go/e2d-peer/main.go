// e2d-peer plays the gossip role of the Go original of e2d: memberlist v0.2.0, the node's own record as a gob "Member" in
// the metadata, status broadcasts as a gob "statusMsg", and the bootstrap protocol from Unknown over Pending to Running.
// It starts no etcd. Events go to stdout as JSON lines; requests come over stdin as JSON lines.
//
//	e2d-peer -name A -gossip 127.0.0.2:7980 -client-url … -peer-url … -size 3 -bootstrap a:7980,b:7980 [-key HEX]
//	e2d-peer encode < values     and     e2d-peer decode < hex lines: the gob of this Go version, for codec tests
package main

import (
	"bufio"
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// NodeStatus, Member and statusMsg have the names and field order that other Go nodes put on the wire.
type NodeStatus int

const (
	Unknown NodeStatus = iota
	Pending
	Running
)

type Member struct {
	ID             uint64
	Name           string
	ClientAddr     string
	ClientURL      string
	PeerAddr       string
	PeerURL        string
	GossipAddr     string
	BootstrapAddrs []string
	Status         NodeStatus
}

type statusMsg struct {
	Name   string
	Status NodeStatus
}

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

func toGob(v any) []byte {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		log.Fatal(err)
	}
	return b.Bytes()
}

func fromGob(data []byte, v any) error { return gob.NewDecoder(bytes.NewReader(data)).Decode(v) }

type peer struct {
	mu       sync.Mutex
	self     Member
	statuses map[string]NodeStatus
	queue    *memberlist.TransmitLimitedQueue
	list     *memberlist.Memberlist
}

func (p *peer) NodeMeta(limit int) []byte {
	if p.list == nil {
		return nil // the first alive goes out before the list exists: its metadata is nil, as with the original
	}
	return p.list.LocalNode().Meta
}

func (p *peer) NotifyMsg(data []byte) {
	var s statusMsg
	if len(data) == 0 {
		return
	}
	if err := fromGob(data, &s); err != nil {
		emit(object{"event": "undecodable", "what": "statusMsg", "error": err.Error(), "data": hex.EncodeToString(data)})
		return
	}
	p.mu.Lock()
	p.statuses[s.Name] = s.Status
	p.mu.Unlock()
	emit(object{"event": "status", "name": s.Name, "status": s.Status})
}

func (p *peer) GetBroadcasts(overhead, limit int) [][]byte {
	return p.queue.GetBroadcasts(overhead, limit)
}
func (p *peer) LocalState(join bool) []byte            { return nil }
func (p *peer) MergeRemoteState(buf []byte, join bool) {}

type broadcast []byte

func (b broadcast) Invalidates(other memberlist.Broadcast) bool { return false }
func (b broadcast) Message() []byte                             { return b }
func (b broadcast) Finished()                                   {}

// update writes the new status straight into the local record, without a new incarnation, and queues a broadcast.
func (p *peer) update(status NodeStatus) {
	p.mu.Lock()
	changed := p.self.Status != status
	p.statuses[p.self.Name] = status
	p.self.Status = status
	meta := toGob(p.self)
	p.mu.Unlock()
	p.list.LocalNode().Meta = meta
	p.queue.QueueBroadcast(broadcast(toGob(statusMsg{Name: p.self.Name, Status: status})))
	if changed {
		emit(object{"event": "own-status", "status": status})
	}
}

func (p *peer) members() []Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := []Member{}
	for _, n := range p.list.Members() {
		if n.Meta == nil {
			continue
		}
		var m Member
		if err := fromGob(n.Meta, &m); err != nil {
			continue
		}
		if status, ok := p.statuses[m.Name]; ok {
			m.Status = status
		}
		found = append(found, m)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
	return found
}

func count(members []Member, status NodeStatus) (n int) {
	for _, m := range members {
		if m.Status == status {
			n++
		}
	}
	return n
}

// found is the bootstrap loop: one step a second until the node may bootstrap a cluster or sees a running member to join.
func (p *peer) found(size int, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Second):
		}
		members := p.members()
		for _, m := range members {
			if m.Status == Running && m.Name != p.self.Name {
				emit(object{"event": "may-join", "name": m.Name, "clientUrl": m.ClientURL})
				return
			}
		}
		if len(members) < size {
			continue
		}
		p.update(Pending)
		if count(p.members(), Pending) < size {
			continue
		}
		list := []string{}
		for _, m := range p.members() {
			list = append(list, m.Name+"="+m.PeerURL)
		}
		sort.Strings(list)
		emit(object{"event": "founds", "initialCluster": strings.Join(list, ",")})
		return
	}
}

func (p *peer) NotifyJoin(n *memberlist.Node)   { report("join", n) }
func (p *peer) NotifyLeave(n *memberlist.Node)  { report("leave", n) }
func (p *peer) NotifyUpdate(n *memberlist.Node) { report("update", n) }

func report(event string, n *memberlist.Node) {
	o := object{"event": event, "name": n.Name}
	var m Member
	if n.Meta == nil {
		o["meta"] = nil
	} else if err := fromGob(n.Meta, &m); err != nil {
		o["undecodable"] = err.Error()
	} else {
		o["member"] = m
	}
	emit(o)
}

type logLines struct{}

func (logLines) Write(line []byte) (int, error) {
	emit(object{"event": "log", "text": strings.TrimRight(string(line), "\n")})
	return len(line), nil
}

// convert answers one line for each line: values to gob, or gob to values, with this Go's own encoding/gob.
func convert(direction string) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<22)
	for in.Scan() {
		var r struct {
			Kind   string
			Member Member
			Status statusMsg
			Data   string
		}
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			log.Fatal(err)
		}
		switch {
		case direction == "encode" && r.Kind == "member":
			emit(object{"data": hex.EncodeToString(toGob(r.Member))})
		case direction == "encode":
			emit(object{"data": hex.EncodeToString(toGob(r.Status))})
		default:
			data, _ := hex.DecodeString(r.Data)
			var err error
			o := object{}
			if r.Kind == "member" {
				var m Member
				err = fromGob(data, &m)
				o["member"] = m
			} else {
				var s statusMsg
				err = fromGob(data, &s)
				o["status"] = s
			}
			if err != nil {
				o = object{"error": err.Error()}
			}
			emit(o)
		}
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) == 2 && (os.Args[1] == "encode" || os.Args[1] == "decode") {
		convert(os.Args[1])
		return
	}
	name := flag.String("name", "", "node, member and Member.Name")
	gossip := flag.String("gossip", "127.0.0.1:7980", "gossip address")
	clientURL := flag.String("client-url", "", "etcd client URL")
	peerURL := flag.String("peer-url", "", "etcd peer URL")
	size := flag.Int("size", 3, "required cluster size")
	bootstrap := flag.String("bootstrap", "", "gossip addresses, comma separated")
	key := flag.String("key", "", "hex of the secret key; empty: plain")
	auto := flag.Bool("auto", true, "run the founding loop; otherwise the status is set over stdin")
	runAfterFounding := flag.Bool("run", true, "become Running one second after founding or joining")
	flag.Parse()

	host, portText, err := net.SplitHostPort(*gossip)
	if err != nil {
		log.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		log.Fatal(err)
	}
	p := &peer{
		self: Member{Name: *name, ClientURL: *clientURL, PeerURL: *peerURL,
			GossipAddr: fmt.Sprintf("%s:%d", host, port)},
		statuses: map[string]NodeStatus{},
	}
	c := memberlist.DefaultLANConfig()
	c.Name, c.BindAddr, c.BindPort, c.AdvertisePort = *name, host, port, port
	c.Delegate, c.Events = p, p
	c.Logger = log.New(logLines{}, "", 0)
	if *key != "" {
		c.SecretKey, _ = hex.DecodeString(*key)
	}
	p.queue = &memberlist.TransmitLimitedQueue{RetransmitMult: 3, NumNodes: func() int { return p.list.NumMembers() }}
	list, err := memberlist.Create(c)
	if err != nil {
		log.Fatal(err)
	}
	p.list = list
	p.update(Unknown)
	emit(object{"event": "ready", "name": *name})

	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
			}
			if _, err := list.Join(strings.Split(*bootstrap, ",")); err == nil {
				break
			}
		}
		emit(object{"event": "joined"})
		if *auto {
			p.found(*size, stop)
			if *runAfterFounding {
				time.Sleep(time.Second)
				p.update(Running)
			}
		}
	}()

	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var r struct {
			ID     int        `json:"id"`
			Op     string     `json:"op"`
			Status NodeStatus `json:"status"`
		}
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			log.Fatal(err)
		}
		switch r.Op {
		case "members":
			emit(object{"id": r.ID, "members": p.members()})
		case "status":
			p.update(r.Status)
			emit(object{"id": r.ID})
		case "shutdown": // as the original: no leave
			close(stop)
			emit(object{"id": r.ID})
			list.Shutdown()
			return
		default:
			emit(object{"id": r.ID, "error": "unknown op " + r.Op})
		}
	}
}
