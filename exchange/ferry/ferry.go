// Package ferry carries sealed envelopes between gateways and front processors
// over Kafka. It handles bytes and headers only and never sees inside an
// envelope: whoever asks passes closures that seal and open.
//
// # Topics
//
//	xg.req.<front>            live requests, consumer group of the front's replicas
//	xg.rep.gw<slot>           live answers, one partition, read by one gateway alone
//	xg.req.<front>.deferred   requests that may wait for days
//	xg.rep.deferred           their answers, consumer group of all gateways
//	xg.ctl                    heartbeats, compacted, no personal data
//	xg.dlq                    what could not be handled: headers, reason, digest; never a body
//
// # What holds
//
// A message is durable on all in-sync replicas when Publish returns nil. It is
// delivered at least once; an answer is given at most once for each
// (exchange, leg): a front computes it once and seals it afresh for each
// attempt, the asker takes the first acceptable one. One record that nobody can
// handle never holds up the others. Consumed records are deleted from the
// broker within a second or two ([GroupConfig].Erase). A front that falls
// silent is known to be down after three of its heartbeat intervals.
//
// The wire format is written down in docs/protocol/kafka.md.
package ferry

import (
	"context"
	"errors"
	"regexp"
	"time"
)

// AnyPartition lets Publish choose: by the key if there is one.
const AnyPartition int32 = -1

// Message is one sealed envelope on its way. Headers repeat its signed
// attributes for routing; names are lower-case, values are printable and hold
// nothing personal.
type Message struct {
	Topic     string
	Partition int32 // AnyPartition when publishing to whichever
	Offset    int64 // of its last record; meaningless when publishing
	Key       []byte
	Headers   map[string]string
	Body      []byte    // nil only for a tombstone on xg.ctl
	Time      time.Time // as the broker has it; the zero time when publishing means now
}

// Bus is all that fronts and gateways need of a transport.
type Bus interface {
	// Publish returns nil when the message is durable. Bodies up to MaxBody
	// bytes are accepted; larger ones are ErrTooLarge.
	Publish(ctx context.Context, m Message) error
	// Partitions returns how many partitions a topic has, at least 1.
	Partitions(topic string) (int, error)
	// ConsumeGroup shares topics with the other members of a group until ctx
	// ends. handle runs in up to GroupConfig.Parallel goroutines at once. Nil
	// means the message is done with; an error means it must come again, and
	// every message behind it in its partition too.
	ConsumeGroup(ctx context.Context, c GroupConfig, handle Handler) error
	// ConsumeDirect reads all partitions of a topic alone, without a group and
	// without stored offsets, until ctx ends or handle returns an error.
	// handle is called in order, one message of a partition at a time.
	ConsumeDirect(ctx context.Context, c DirectConfig, handle Handler) error
}

// Handler takes one whole message. Its context outlives the one given to
// ConsumeGroup by the drain time, so that work in hand can be finished.
type Handler func(ctx context.Context, m Message) error

// GroupConfig says how to consume as a member of a group.
type GroupConfig struct {
	Group  string
	Topics []string
	// Seat, if set, is this member's for ever: whoever takes it again, after a
	// crash too, goes on at once, without the group's being formed anew. Only
	// one process may have it at a time.
	Seat string
	// Parallel bounds the messages in hand at once; 0 means 64. When all are
	// taken the partitions are paused until one is free.
	Parallel int
	// SkipOlder > 0 starts, after a time without any member, at the records of
	// this age instead of replaying a dead backlog.
	SkipOlder time.Duration
	// Erase deletes records from the broker each second once they and all
	// before them are done with.
	Erase bool
	// Drain is how long work in hand may go on after ctx has ended; 0 means 5 s.
	Drain time.Duration
}

// DirectConfig says how to read a topic alone.
type DirectConfig struct {
	Topic string
	// Oldest starts with what is already there instead of with what comes next.
	Oldest bool
	// Erase deletes each second what has been handled.
	Erase bool
	// Ready, if set, is called once, when everything that was there at the
	// start has been handled and whatever is published from now on will be.
	Ready func()
}

// Limits of one message.
const (
	ChunkOver = 512 << 10       // bodies above this many bytes travel in chunks
	ChunkSize = 256 << 10       // bytes in each chunk
	MaxBody   = 10<<20 + 64<<10 // bytes: 10 MiB and what sealing adds
	maxHeader = 1024            // bytes in one header value
)

// Names of topics that do not depend on a front or a slot.
const (
	TopicControl       = "xg.ctl"
	TopicDeadLetter    = "xg.dlq"
	TopicDeferredReply = "xg.rep.deferred"
)

var (
	frontName  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	slotName   = regexp.MustCompile(`^[0-9]{2}$`)
	replyTopic = regexp.MustCompile(`^xg\.rep\.gw[0-9]{2}$`)
)

// RequestTopic is where a front's live requests go.
func RequestTopic(front string) string { return "xg.req." + front }

// DeferredRequestTopic is where a front's deferred requests go.
func DeferredRequestTopic(front string) string { return "xg.req." + front + ".deferred" }

// ReplyTopic is where the gateway of a slot ("00" to "99") is answered.
func ReplyTopic(slot string) string { return "xg.rep.gw" + slot }

// IsReplyTopic reports whether answers may go to a topic: live ones, or also
// deferred ones. Whoever writes where a message tells it to (a front, a relay)
// must ask.
func IsReplyTopic(topic string, deferred bool) bool {
	return replyTopic.MatchString(topic) || deferred && topic == TopicDeferredReply
}

// Errors a caller may want to tell apart.
var (
	// ErrTooLarge is returned for a body over MaxBody or a header over 1 KiB.
	ErrTooLarge = errors.New("message too large for the ferry")
	// ErrFrontDown is wrapped by FrontDownError.
	ErrFrontDown = errors.New("front processor is down")
	// ErrNotSent means that no attempt reached the broker.
	ErrNotSent = errors.New("request could not be handed to the broker")
	// ErrBusy means that the front had no free place until the deadline.
	ErrBusy = errors.New("front processor has no free place")
	// ErrAsking means that this leg of this exchange is already being asked.
	ErrAsking = errors.New("this leg is already being asked")
	// ErrUndecodable is wrapped by a front's handler for a request that no
	// repetition can make readable.
	ErrUndecodable = errors.New("undecodable request")
	// ErrNoTopic means that a topic does not exist.
	ErrNoTopic = errors.New("no such topic")
	// ErrClosed means that the bus has been closed.
	ErrClosed = errors.New("bus is closed")
)
