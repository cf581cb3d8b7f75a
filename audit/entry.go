package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
)

// Version of the entry format, written as "v" in every open half.
const Version = 1

// An Op says what kind of operation an entry records.
type Op string

// The vocabulary of operations. New ones may be added; none is ever renamed,
// since old entries cannot be rewritten.
const (
	OpLogOpen      Op = "log.open"      // entry 0 of a shard
	OpLogStart     Op = "log.start"     // the log was opened again by a new process
	OpLogStop      Op = "log.stop"      // the process closed the log in good order
	OpLogClose     Op = "log.close"     // last entry of a shard
	OpLogRecovered Op = "log.recovered" // damaged tails were moved to quarantine
	OpLogChecked   Op = "log.checked"   // all before a resumed start was read again (Rows: tiles mended)
	OpLogDamaged   Op = "log.damaged"   // and is not what was signed; the log stops
	OpClockStep    Op = "clock.step"    // the wall clock jumped by more than a second (Millis)

	OpLogin       Op = "login"
	OpLogout      Op = "logout"
	OpCardRead    Op = "card.read"
	OpFaceCheck   Op = "face.check"
	OpConsent     Op = "consent.grant"
	OpConsentEnd  Op = "consent.withdraw"
	OpQuery       Op = "query"       // one exchange; Phase tells intent from outcome
	OpSourceCall  Op = "source.call" // one leg
	OpSeal        Op = "seal"
	OpRelease     Op = "release" // one proof's data and document were handed over
	OpIssue       Op = "issue"   // public record of an issued document
	OpWithdraw    Op = "withdraw"
	OpVerify      Op = "verify"
	OpDocView     Op = "doc.view"
	OpDocPrint    Op = "doc.print"
	OpDocReprint  Op = "doc.reprint"
	OpDeny        Op = "deny" // refused before anything was asked
	OpAdmin       Op = "admin"
	OpCatalog     Op = "admin.catalog"
	OpSealStep    Op = "admin.seal" // a step of the register of seals
	OpKey         Op = "key"
	OpAlarm       Op = "alarm"
	OpAuditSearch Op = "audit.search"
	OpAuditExport Op = "audit.export"
	OpCitizenView Op = "citizen.view"
	OpComplaint   Op = "citizen.complaint"

	OpSuperviseRules     Op = "supervise.rules"     // the rules that hold from here on
	OpSuperviseCard      Op = "supervise.card"      // a yellow or red card: raised, confirmed, dismissed
	OpSuperviseOrder     Op = "supervise.order"     // a supervision order: issued, answered, returned, closed
	OpSuperviseRelatives Op = "supervise.relatives" // an account's list of relatives: proposed, declared
)

// essential tells whether an operation is still recorded when the disk is
// nearly full: the log's own entries, logins, administration and alarms are.
func (op Op) essential() bool {
	switch op {
	case OpLogOpen, OpLogStart, OpLogStop, OpLogClose, OpLogRecovered, OpLogChecked, OpLogDamaged, OpClockStep,
		OpLogin, OpLogout, OpDeny, OpAdmin, OpCatalog, OpSealStep, OpWithdraw, OpKey, OpAlarm,
		OpSuperviseRules, OpSuperviseCard, OpSuperviseOrder, OpSuperviseRelatives:
		return true
	}
	return false
}

func essential(entries []Entry) bool {
	return !slices.ContainsFunc(entries, func(e Entry) bool { return !e.Open.Op.essential() })
}

// A Phase tells where in an operation an entry stands.
type Phase string

// Phases. An operation that touches a resident's data has an intent that is
// durable before anything is asked, and one of the other three afterwards.
const (
	PhaseIntent Phase = "intent"
	PhaseDone   Phase = "done"
	PhaseFailed Phase = "failed"
	PhaseDenied Phase = "denied"
)

// OutcomeAnswered is the only outcome that the open half of an entry about a
// sensitive proof may name; what was found stays in the closed half.
const OutcomeAnswered = "ANSWERED"

// Disclosure of an entry to the resident it is about.
const (
	DiscloseNow   = "now"
	DiscloseNever = "never"
	// A date "2006-01-02" as Open.Disclose means: from that day on.
)

// SubjectRef names a resident (or an organisation) by keyed pseudonym.
type SubjectRef struct {
	Type  string `json:"type"`           // "idno", "idno-invalid", "uscc", "phone"
	Epoch string `json:"epoch"`          // of the key: a quarter, "2026q4", or "2026q4-2" after an emergency
	P     string `json:"p"`              // 16 bytes, standard base64
	Role  string `json:"role,omitempty"` // in the exchange: applicant, spouse, ...
}

// Quarantined describes a damaged tail that recovery moved aside.
type Quarantined struct {
	Name  string `json:"name"`  // file name inside quarantine/
	Bytes int64  `json:"bytes"` // its length
	SM3   string `json:"sm3"`   // of its content, lower hex
}

// Open is the half of an entry that the resident concerned may see. Values
// are codes, numbers and pseudonyms, never free text or personal data.
// The order of the fields is the order on disk.
//
// V, Time and (if empty) ID are filled by the log; origin and sequence number
// are those of the log that holds the entry.
type Open struct {
	V            int           `json:"v"`
	ID           string        `json:"id"` // ULID, 26 characters
	Time         int64         `json:"ts"` // microseconds since the Unix epoch
	Op           Op            `json:"op"`
	Phase        Phase         `json:"phase,omitempty"`
	Outcome      string        `json:"outcome,omitempty"`
	Millis       int64         `json:"ms,omitempty"` // duration, milliseconds
	Subjects     []SubjectRef  `json:"subjects,omitempty"`
	Department   string        `json:"dept,omitempty"` // asking department, 12 digits
	System       string        `json:"system,omitempty"`
	Item         string        `json:"item,omitempty"`
	Case         string        `json:"case,omitempty"`
	Basis        string        `json:"basis,omitempty"` // legal basis code
	Purpose      string        `json:"purpose,omitempty"`
	Consent      string        `json:"consent,omitempty"` // consent or notice version
	Proof        string        `json:"proof,omitempty"`
	Provider     string        `json:"provider,omitempty"` // answering department
	Source       string        `json:"source,omitempty"`   // catalogue resource
	Interface    string        `json:"iface,omitempty"`    // its interface version
	Route        string        `json:"route,omitempty"`
	Authenticity string        `json:"auth,omitempty"` // source-signature, peer-mac, channel
	Fields       []string      `json:"fields,omitempty"`
	Class        string        `json:"class,omitempty"` // classification level of the data
	Rows         *int          `json:"rows,omitempty"`
	Exchange     string        `json:"exchange,omitempty"`
	Leg          string        `json:"leg,omitempty"`
	Release      uint64        `json:"release,omitempty"` // catalogue release
	Number       string        `json:"number,omitempty"`  // certificate number
	Date         string        `json:"date,omitempty"`    // of issue, 2006-01-02
	Valid        string        `json:"valid,omitempty"`   // valid until, 2006-01-02
	Status       string        `json:"status,omitempty"`
	Digest       string        `json:"digest,omitempty"` // salted or keyed only
	Prev         *uint64       `json:"prev,omitempty"`   // index of this operation's previous entry
	Disclose     string        `json:"disclose,omitempty"`
	Previous     string        `json:"previous,omitempty"` // log.open: final checkpoint of the previous shard
	Quarantine   []Quarantined `json:"quarantine,omitempty"`
	Since        string        `json:"since,omitempty"` // Pointer to this operation's intent, if that is in an earlier shard
}

// Closed is the half that stays with the auditors: who did it from where, and
// what a sensitive proof found. It can be withheld, and later deleted, without
// breaking the tree. Operators are named by staff account, never by ID number.
type Closed struct {
	Actor       string            `json:"actor,omitempty"`
	Role        string            `json:"role,omitempty"`
	Auth        string            `json:"auth,omitempty"` // authentication method
	CertSN      string            `json:"certsn,omitempty"`
	Session     string            `json:"session,omitempty"`
	Workstation string            `json:"workstation,omitempty"`
	Device      string            `json:"device,omitempty"`
	Node        string            `json:"node,omitempty"`
	IP          string            `json:"ip,omitempty"`
	Trace       string            `json:"trace,omitempty"` // W3C trace id
	Legs        []string          `json:"legs,omitempty"`  // leg digests
	Digests     map[string]string `json:"digests,omitempty"`
	Commitments map[string]string `json:"commitments,omitempty"` // salted, per field
	Result      string            `json:"result,omitempty"`      // true code of a sensitive proof
	Rows        *int              `json:"rows,omitempty"`
	Reason      string            `json:"reason,omitempty"` // a code
	Decision    string            `json:"decision,omitempty"`
	Rule        string            `json:"rule,omitempty"` // rule version
	Risk        int               `json:"risk,omitempty"`
	Approvals   []string          `json:"approvals,omitempty"`
	SealCert    string            `json:"sealcert,omitempty"` // serial number
	Object      string            `json:"object,omitempty"`   // what administration changed
	Before      string            `json:"before,omitempty"`   // keyed digest, or a value that is no secret
	After       string            `json:"after,omitempty"`
	Authority   string            `json:"authority,omitempty"` // who forbade or delayed disclosure
	Stamp       string            `json:"stamp,omitempty"`     // time of a signature's time stamp (RFC 3339), or "unavailable"
	Evidence    []string          `json:"evidence,omitempty"`  // supervise.card: the entries it rests on, origin:index
}

// Entry is one record: its two halves. The log adds the salt.
type Entry struct {
	Open   Open
	Closed Closed
}

// Hash is an SM3 value: a leaf, a node or a root of the tree.
type Hash [32]byte

// String returns the hash in standard base64, as notes and receipts write it.
func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// MarshalText writes what String does.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote, in that spelling only.
func (h *Hash) UnmarshalText(text []byte) error {
	parsed, err := parseHash(string(text))
	if err == nil {
		*h = parsed
	}
	return err
}

func parseHash(s string) (Hash, error) {
	var h Hash
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(h) || base64.StdEncoding.EncodeToString(b) != s {
		return h, fmt.Errorf("audit: not a base64 SM3 value of 32 bytes")
	}
	copy(h[:], b)
	return h, nil
}

// Sentinel errors. Any error of Append means that the caller must release nothing.
var (
	// ErrPoisoned: a write failed once, or the log's files went away. The log
	// takes no entry any more; the process should end. It wraps the cause.
	ErrPoisoned = errors.New("audit: log stopped after a failure of its storage")
	// ErrOverloaded: the queue stayed full, or the disk too slow, until the
	// append deadline. The caller may try again later.
	ErrOverloaded = errors.New("audit: log overloaded")
	// ErrDiskLow: free space is below the low-water mark; only logins,
	// administration, alarms and the log's own entries are taken.
	ErrDiskLow = errors.New("audit: disk space below the low-water mark")
	// ErrHeld: the log was told to take no business, see Log.Hold. It wraps the reason.
	ErrHeld = errors.New("audit: log is held")
	// ErrDamaged: what is on disk is not what was signed. Nothing was changed.
	ErrDamaged = errors.New("audit: log is damaged")
	// ErrLocked: another process has the log open.
	ErrLocked = errors.New("audit: log is open in another process")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("audit: log is closed")
	// ErrSealed: the shard ended with log.close and takes no entry any more.
	ErrSealed = errors.New("audit: shard is sealed")
	// ErrNotSealed: the shard does not end with log.close, so it may still grow.
	ErrNotSealed = errors.New("audit: shard is not sealed")
	// ErrEntry: an entry cannot be recorded as it is (no operation, too large).
	ErrEntry = errors.New("audit: bad entry")
	// ErrPersonal: an entry holds what looks like an ID number (IsIDNumber), which
	// the log would keep for ever. Nothing was written.
	ErrPersonal = errors.New("audit: entry holds what looks like an ID number")
	// ErrSignature: a head or receipt is not signed by the expected key.
	ErrSignature = errors.New("audit: signature does not verify")
	// ErrProof: a proof does not lead to the signed root.
	ErrProof = errors.New("audit: proof does not verify")
	// ErrRange: an index or size lies outside the log.
	ErrRange = errors.New("audit: index outside the log")
)
