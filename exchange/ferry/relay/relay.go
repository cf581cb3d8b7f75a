// Package relay joins the ferry's two transports: Kafka in the private cloud
// and the spool of a gap. It carries sealed envelopes and cannot open them: it
// has a key to sign files for the gap, and none of a gateway or a front.
//
// On the cloud's side a [Relay] stands in for the fronts behind the gap: it
// takes their requests, in their consumer group, and writes their answers,
// heartbeats and dead letters. It is a spool.Endpoint, so that spool.Pump does
// the rest. On the isolated side a [Bus] is the ferry.Bus of the front, over
// the same spool protocol, so that ferry.Server needs to know nothing of it.
// What a department may take days over waits there in an [Inbox].
//
// # Records
//
// A record has all headers of its message except fy-chunk (a large message
// crosses whole) and two of the relay's own:
//
//	fy-topic   the topic the message was read from, or is to be written to
//	fy-key     on xg.ctl: the record's key
//
// A record on xg.ctl without a body, but with fy-key, deletes that key.
//
// # What holds
//
// A request is committed in Kafka once it is safe in the spool, and a file of
// answers is acknowledged once all of them are safe in Kafka. So each crosses
// at least once; who asked takes the first answer and drops others. A request's
// id is the same however often Kafka delivers it, so the gap drops repetitions.
// No request outlives its deadline in the spool.
//
// The relay writes only where a front may: reply topics, xg.dlq without a body,
// and on xg.ctl under the keys of the fronts it stands in for.
package relay

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/exchange/ferry"
	"yizheng/exchange/ferry/spool"
)

// Headers of records in the spool.
const (
	HeaderTopic = "fy-topic"
	HeaderKey   = "fy-key"
)

const (
	liveTime    = 3 * time.Minute  // longest use of a live answer that names no deadline
	controlTime = 15 * time.Second // a heartbeat that comes later than this says nothing
)

// deferredSuffix ends no live topic: fronts' names hold no dot.
const deferredSuffix = ".deferred"

func isDeferred(topic string) bool { return strings.HasSuffix(topic, deferredSuffix) }
func isLive(topic string) bool     { return !isDeferred(topic) }

// Channels are the names that the two directions of a front's gap have by
// custom: CITY_LAND to land-front, LAND_CITY back.
func Channels(front string) (to, from string) {
	name := strings.ToUpper(strings.ReplaceAll(strings.TrimSuffix(front, "-front"), "-", "_"))
	return "CITY_" + name, name + "_CITY"
}

// record makes a spool's record of a message.
func record(id string, m ferry.Message, now time.Time) spool.Message {
	h := make(map[string]string, len(m.Headers)+2)
	maps.Copy(h, m.Headers)
	delete(h, ferry.HeaderChunk)
	h[HeaderTopic] = m.Topic
	if m.Topic == ferry.TopicControl {
		h[HeaderKey] = string(m.Key)
	}
	return spool.Message{ID: id, Headers: h, Body: m.Body, NotAfter: notAfter(m, now)}
}

// requestID names a request by its place and by what it is, so that it is the
// same for every delivery, and another one when a topic has been made anew.
func requestID(m ferry.Message) string {
	h := sm3.New()
	part := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }
	part(m.Topic)
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		part(name)
		part(m.Headers[name])
	}
	h.Write(m.Body)
	return fmt.Sprintf("%d:%d:%s", m.Partition, m.Offset, hex.EncodeToString(h.Sum(nil)[:16]))
}

// answerID names what a front puts. A deferred answer has the same id however
// often its request is handled, as after a crash between answer and end of the
// request, so that the other side drops all but one.
func answerID(m ferry.Message) string {
	if m.Topic != ferry.TopicDeferredReply {
		return newID()
	}
	h := sm3.New()
	for _, name := range []string{ferry.HeaderExchange, ferry.HeaderLeg, ferry.HeaderAttempt, ferry.HeaderNonce, recipientKey} {
		fmt.Fprintf(h, "%d:%s", len(m.Headers[name]), m.Headers[name])
	}
	return "deferred:" + hex.EncodeToString(h.Sum(nil)[:16])
}

// recipientKey is the envelope's header that names whose key it is sealed to.
const recipientKey = "yz-recipient-key"

// newID names a message that is put once.
func newID() string { return rand.Text() }

// notAfter is when a message is of no more use: its deadline if it names one.
// The zero time leaves it to the link.
func notAfter(m ferry.Message, now time.Time) time.Time {
	if at, err := strconv.ParseInt(m.Headers[ferry.HeaderDeadline], 10, 64); err == nil && at > 0 && m.Topic != ferry.TopicDeadLetter {
		return time.UnixMilli(at)
	}
	switch {
	case m.Topic == ferry.TopicControl:
		return now.Add(controlTime)
	case ferry.IsReplyTopic(m.Topic, false):
		return now.Add(liveTime)
	}
	return time.Time{}
}

// message makes a message of a spool's record, without the relay's headers.
func message(r spool.Message) ferry.Message {
	h := maps.Clone(r.Headers)
	if h == nil {
		h = map[string]string{}
	}
	for _, name := range []string{HeaderTopic, HeaderKey, ferry.HeaderChunk} {
		delete(h, name)
	}
	m := ferry.Message{Topic: r.Headers[HeaderTopic], Partition: ferry.AnyPartition, Headers: h, Body: r.Body}
	if key := r.Headers[HeaderKey]; key != "" {
		m.Key = []byte(key)
	}
	if m.Body == nil {
		m.Body = []byte{}
	}
	return m
}

// frontOf returns whose heartbeat a key on xg.ctl is; "" if it is none.
func frontOf(key string) string {
	rest, ok := strings.CutPrefix(key, "front/")
	front, instance, whole := strings.Cut(rest, "/")
	if !ok || !whole || instance == "" || len(instance) > 64 {
		return ""
	}
	return front
}
