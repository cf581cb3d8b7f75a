package ferry

import "sync/atomic"

// AskCounts says what became of questions and answers since the start.
type AskCounts struct {
	Asked        uint64 // questions sent
	Answered     uint64 // ended by an accepted answer
	Refused      uint64 // ended by a front's refusal
	Unanswered   uint64 // ended by their deadline or their caller
	Down         uint64 // not sent: front known to be down
	Busy         uint64 // not sent: no free place at the front
	Hedged       uint64 // attempts after the first
	Posted       uint64 // deferred requests
	Late         uint64 // answers after the end of their question: late or duplicate
	Foreign      uint64 // answers to nothing asked here
	OldEpoch     uint64 // answers to an earlier tenant of the slot
	Unacceptable uint64 // answers that Accept turned down
}

type askCounters struct {
	Asked, Answered, Refused, Unanswered, Down, Busy, Hedged, Posted, Late, Foreign, OldEpoch, Unacceptable atomic.Uint64
}

// Counts returns the counters as they are now.
func (a *Asker) Counts() AskCounts {
	c := &a.counts
	return AskCounts{Asked: c.Asked.Load(), Answered: c.Answered.Load(), Refused: c.Refused.Load(),
		Unanswered: c.Unanswered.Load(), Down: c.Down.Load(), Busy: c.Busy.Load(), Hedged: c.Hedged.Load(),
		Posted: c.Posted.Load(), Late: c.Late.Load(), Foreign: c.Foreign.Load(), OldEpoch: c.OldEpoch.Load(),
		Unacceptable: c.Unacceptable.Load()}
}

// ServeCounts says what became of a front's requests since the start.
type ServeCounts struct {
	Received   uint64 // whole requests
	Answered   uint64 // answers sent, repetitions included
	Repeated   uint64 // answered without asking the handler again
	Expired    uint64 // dropped: their deadline had passed on arrival
	Unreadable uint64 // put to xg.dlq: undecodable
	Failed     uint64 // put to xg.dlq: failed three times
	Misplaced  uint64 // put to xg.dlq: asked to be answered where nobody may be
	Unsent     uint64 // answers that could not be published
}

type serveCounters struct {
	Received, Answered, Repeated, Expired, Unreadable, Failed, Misplaced, Unsent atomic.Uint64
}

// Counts returns the counters as they are now.
func (s *Server) Counts() ServeCounts {
	c := &s.counts
	return ServeCounts{Received: c.Received.Load(), Answered: c.Answered.Load(), Repeated: c.Repeated.Load(),
		Expired: c.Expired.Load(), Unreadable: c.Unreadable.Load(), Failed: c.Failed.Load(),
		Misplaced: c.Misplaced.Load(), Unsent: c.Unsent.Load()}
}
