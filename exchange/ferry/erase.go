package ferry

import (
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const eraseEvery = time.Second

// eraser deletes consumed records from the broker each second. Compaction and
// tombstones do not erase, and retention is checked only every few minutes. A
// nil eraser does nothing.
type eraser struct {
	k *Kafka

	mu   sync.Mutex
	want map[string]map[int32]int64 // topic, partition: first offset to keep

	quit chan struct{}
	done chan struct{}
}

func (k *Kafka) newEraser() *eraser {
	e := &eraser{k: k, want: map[string]map[int32]int64{}, quit: make(chan struct{}), done: make(chan struct{})}
	go e.run()
	return e
}

// upTo asks for everything before an offset to be deleted.
func (e *eraser) upTo(topic string, partition int32, offset int64) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.want[topic] == nil {
		e.want[topic] = map[int32]int64{}
	}
	e.want[topic][partition] = max(offset, e.want[topic][partition])
}

func (e *eraser) run() {
	defer close(e.done)
	tick := time.NewTicker(eraseEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.erase()
		case <-e.quit:
			e.erase()
			return
		}
	}
}

// stop erases a last time.
func (e *eraser) stop() {
	close(e.quit)
	<-e.done
}

func (e *eraser) erase() {
	e.mu.Lock()
	want := e.want
	e.want = map[string]map[int32]int64{}
	e.mu.Unlock()
	for topic, offsets := range want {
		err := e.k.admin.DeleteRecords(topic, offsets)
		// Another member may have deleted further since.
		if err != nil && !errors.Is(err, sarama.ErrOffsetOutOfRange) {
			e.k.log.Warn("consumed records are not yet deleted", "topic", topic, "err", err)
			for p, o := range offsets {
				e.upTo(topic, p, o)
			}
		}
	}
}
