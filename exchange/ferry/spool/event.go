package spool

import (
	"sync/atomic"
	"time"
)

// EventKind says what happened.
type EventKind string

// Kinds of events. An alarm is what somebody has to look at.
const (
	EventGap         EventKind = "gap"             // files From..To are missing; asked for again
	EventGapClosed   EventKind = "gap-closed"      // From has come after all, or has been voided
	EventResent      EventKind = "resent"          // From was sent again: asked for, or not acknowledged
	EventVoid        EventKind = "void"            // From..To will not come: Reason. An alarm if it is Lost
	EventExpired     EventKind = "expired"         // From was not acknowledged by its not-after
	EventLost        EventKind = "lost"            // alarm: From is gone from done/, or damaged there
	EventQuarantined EventKind = "quarantined"     // alarm: File could not be believed
	EventFull        EventKind = "quarantine-full" // alarm: a bad file was deleted instead
	EventChain       EventKind = "chain"           // alarm: From does not follow the file before it, and was refused
	EventFork        EventKind = "fork"            // alarm: two different files say they are From
	EventRollback    EventKind = "rollback"        // alarm: the other side has more than we know to have sent; a new epoch begins
	EventEpoch       EventKind = "epoch"           // the other side began anew: From is its first
	EventSilent      EventKind = "peer-silent"     // alarm: no file of the other side for three heartbeats
	EventBack        EventKind = "peer-back"       // it is heard again
	EventLag         EventKind = "lag"             // alarm: the oldest unacknowledged file, From, is older than LagAlarm
	EventDisk        EventKind = "disk"            // alarm: the spool cannot be written or read; retried
	EventReconciled  EventKind = "reconciled"      // both sides agree on a period
	EventMissing     EventKind = "missing"         // alarm: of a period, the other side lacks From..To
)

// Event names a happening by channel and sequence. It never holds contents.
type Event struct {
	Time    time.Time
	Kind    EventKind
	Channel string
	Epoch   uint64
	Range
	Reason string
	File   string   // a file's name, if it is one of ours
	IDs    []string // EventMissing: ids of the records concerned
}

// Metrics counts since the start. It holds no personal data.
type Metrics struct {
	FilesSent, RecordsSent, BytesSent     uint64
	FilesResent, FilesAcked, FilesExpired uint64
	FilesLost                             uint64
	FilesReceived, RecordsDelivered       uint64
	BytesReceived                         uint64
	DuplicateFiles, DuplicateRecords      uint64
	ExpiredRecords, VoidedFiles           uint64
	BadFiles, StaleFiles, BeyondWindow    uint64
	GapsNamed, GapsClosed                 uint64
	NacksSent, NacksReceived              uint64
	AcksSent, AcksReceived                uint64
	BeatsSent, BeatsReceived              uint64
	Reconciled, Mismatched                uint64

	// Present state.
	Unacknowledged  int           // files
	RetainedBytes   int64         // of them
	OldestUnacked   time.Duration // age; 0 if there is none
	Queued          int           // messages that wait for a file
	Missing         int           // files known to be missing
	PeerSilentSince time.Time     // zero while it is heard
	PeerLag         time.Duration // age of the oldest file that the other side has not had acknowledged
}

type counters struct {
	filesSent, recordsSent, bytesSent, filesResent, filesAcked, filesExpired, filesLost,
	filesReceived, recordsDelivered, bytesReceived, duplicateFiles, duplicateRecords,
	expiredRecords, voidedFiles, badFiles, staleFiles, beyondWindow, gapsNamed, gapsClosed,
	nacksSent, nacksReceived, acksSent, acksReceived, beatsSent, beatsReceived,
	reconciled, mismatched atomic.Uint64
}

func (c *counters) snapshot() Metrics {
	return Metrics{
		FilesSent: c.filesSent.Load(), RecordsSent: c.recordsSent.Load(), BytesSent: c.bytesSent.Load(),
		FilesResent: c.filesResent.Load(), FilesAcked: c.filesAcked.Load(), FilesExpired: c.filesExpired.Load(),
		FilesLost: c.filesLost.Load(), FilesReceived: c.filesReceived.Load(), RecordsDelivered: c.recordsDelivered.Load(),
		BytesReceived: c.bytesReceived.Load(), DuplicateFiles: c.duplicateFiles.Load(), DuplicateRecords: c.duplicateRecords.Load(),
		ExpiredRecords: c.expiredRecords.Load(), VoidedFiles: c.voidedFiles.Load(), BadFiles: c.badFiles.Load(),
		StaleFiles: c.staleFiles.Load(), BeyondWindow: c.beyondWindow.Load(), GapsNamed: c.gapsNamed.Load(),
		GapsClosed: c.gapsClosed.Load(), NacksSent: c.nacksSent.Load(), NacksReceived: c.nacksReceived.Load(),
		AcksSent: c.acksSent.Load(), AcksReceived: c.acksReceived.Load(), BeatsSent: c.beatsSent.Load(),
		BeatsReceived: c.beatsReceived.Load(), Reconciled: c.reconciled.Load(), Mismatched: c.mismatched.Load(),
	}
}
