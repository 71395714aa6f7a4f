package peer

import (
	"sync/atomic"
	"testing"

	"github.com/cartwheel-db/cartwheel/ring"
)

// BenchmarkPipelined sends 100-byte messages over loopback with at most a window of them under way; one operation is one
// message made, sent and delivered.
func BenchmarkPipelined(b *testing.B) {
	const window = 4096
	var delivered atomic.Int64
	room := make(chan struct{}, 1)
	n1 := start(b, "n1", nil)
	n2 := start(b, "n2", func(c *Config) {
		c.Deliver = func(_ ring.NodeID, _ Header, messages [][]byte) {
			delivered.Add(int64(len(messages)))
			select {
			case room <- struct{}{}:
			default:
			}
		}
	})
	n1.dials(b, n2)
	payload := sample(100)
	b.SetBytes(100)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		for int64(i)-delivered.Load() >= window {
			<-room
		}
		if err := n1.Send("n2", append(make([]byte, 0, 100), payload...)); err != nil {
			b.Fatal(err)
		}
	}
	for delivered.Load() < int64(b.N) {
		<-room
	}
	b.StopTimer()
	b.ReportMetric(n1.Stats().Peers["n2"].MessagesPerFrame(), "msgs/frame")
}

// BenchmarkRoundTrip is the other end: one message at a time, there and back.
func BenchmarkRoundTrip(b *testing.B) {
	back := make(chan struct{})
	var n1, n2 *node
	n1 = start(b, "n1", func(c *Config) {
		c.Deliver = func(_ ring.NodeID, _ Header, messages [][]byte) {
			for range messages {
				back <- struct{}{}
			}
		}
	})
	ready := make(chan struct{})
	n2 = start(b, "n2", func(c *Config) {
		c.Deliver = func(_ ring.NodeID, _ Header, messages [][]byte) {
			<-ready
			for _, m := range messages {
				if err := n2.Send("n1", append([]byte(nil), m...)); err != nil {
					b.Error(err)
				}
			}
		}
	})
	close(ready)
	n1.dials(b, n2)
	n2.dials(b, n1)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := n1.Send("n2", make([]byte, 100)); err != nil {
			b.Fatal(err)
		}
		<-back
	}
}

func BenchmarkFrameEncode(b *testing.B) {
	messages := repeat(100, sample(100))
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendFrame(buf[:0], Header{RingHash: 1, Stamp: 2}, messages)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/message")
}

func BenchmarkFrameDecode(b *testing.B) {
	body := appendFrame(nil, Header{RingHash: 1, Stamp: 2}, repeat(100, sample(100)))[frameHeadBytes:]
	var into [][]byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if _, into, err = decodeBody(body, into[:0]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/message")
}
