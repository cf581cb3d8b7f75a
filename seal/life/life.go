// Package life is the register of seals: who applied for a seal, who approved it,
// who made and issued it, and whether it may be used now (DB37/T 3448.1 4.3.4 a;
// GB/T 39047 5.2.3.3 b, c).
//
// The register is one append-only file, journal.jws, of steps. A step is a
// statement of one person (package staff), signed with their own SM2 key, one
// compact JWS a line, and names the digest of the line before it:
//
//	{"v":1, "n":7, "prev":SM3 of line 6, "at":"…Z", "seal":"ca-city",
//	 "action":"approve", "of":SM3 of the line that is approved}
//
// So a line cannot be changed, taken out, put elsewhere or signed again for another
// seal. Everything else is derived: the states, the files of a seal's directory from
// which package seal signs, and the status list a maker publishes.
//
// What matters needs two persons. One asks (apply, import, renew, replace, resume,
// revoke, destroy), a security administrator who is somebody else approves, and
// nobody makes what they applied for or issues what they made. Two acts are the safe
// side and need one: suspend, since a lost key does not wait, and reject.
//
// What the package guarantees: a step is durable when Append returns, whole or not
// at all; a journal that is changed is refused with the line's number; a journal
// that lost its end is noticed by whoever remembers its Head, as status lists and
// the audit log do. It holds no personal data: seals are of organisations, persons
// are named by account.
package life

import (
	"errors"
	"time"

	"yizheng/seal"
)

// State of a seal. Applied, Approved and Made are on the way to the first issue.
type State string

// States. Destroyed is final.
const (
	Applied   State = "applied"
	Approved  State = "approved"
	Made      State = "made"
	Declined  State = "declined" // the first application was rejected
	Issued    State = State(seal.Issued)
	Suspended State = State(seal.Suspended)
	Revoked   State = State(seal.Revoked)
	Destroyed State = "destroyed"
)

// Usable is the state as signing and verifying know it; ok is false for a seal
// that was never issued or is destroyed.
func (s State) Usable() (state seal.State, ok bool) {
	switch s {
	case Issued, Suspended, Revoked:
		return seal.State(s), true
	}
	return "", false
}

// Errors a caller branches on. Refusals of a step are of type *Refusal.
var (
	// ErrMoved: the statement was signed for another state of the register.
	ErrMoved = errors.New("seal register: it has moved on since this was signed; look at it again and sign anew (登记簿已有新步骤，请重新查看后再签)")
	// ErrDamaged: the journal is not what was written.
	ErrDamaged = errors.New("seal register: journal damaged or forged (印章登记簿被改动或损坏)")
	// ErrRolledBack: the journal lacks steps somebody has seen.
	ErrRolledBack = errors.New("seal register: steps are missing that were seen before (印章登记簿缺少已见过的步骤，可能被回退)")
	// ErrTime: a statement's time is before the last step's, or in the future.
	ErrTime = errors.New("seal register: the statement's time is before the last step's or in the future; check the clock (时间早于上一步或晚于现在，请校时)")
	// ErrFiles: the steps hold, but the files of a seal's directory could not be made
	// from them. The register is good for use; its next Reload tries again.
	ErrFiles = errors.New("seal register: the step holds, but files of a seal could not be written (步骤已生效，但印章目录中的文件未能写入)")
	// ErrBusy: another process kept the register locked.
	ErrBusy = errors.New("seal register: another process is using it; try again (登记簿正被使用，请稍后重试)")
)

// Refusal says why a step is not allowed, in both languages.
type Refusal struct {
	Seal, Action     string
	Chinese, English string
}

func (r *Refusal) Error() string {
	return "seal register: " + r.Seal + ": " + r.Action + ": " + r.English + " (" + r.Chinese + ")"
}

// Seal is one seal of the register as its steps have left it.
type Seal struct {
	ID      string
	State   State
	Since   time.Time
	Current *Edition // in use, or the last that was; nil before the first issue
	Pending *Change  // waits for somebody; nil if nothing does
}

// Edition is one SESeal with the certificate it is bound to. A renewal makes
// another one under the same identifier, a replacement under a new one.
type Edition struct {
	ESID   string
	Name   string
	Kid    string // key id of the holder's certificate
	Maker  string // key id of the maker's certificate
	ESeal  []byte // SESeal, DER
	Holder []byte // the holder's signing certificate, DER
	Issued time.Time
}

// Change is something asked for and not yet done.
type Change struct {
	Action     Action
	Asked      string // digest of the line that asked; approvals name it
	By         string // who asked
	At         time.Time
	Reason     Reason
	Stage      State // Applied, Approved or Made
	ApprovedBy string
	MadeBy     string // for an import: who approved it
	Order      *Order
	Edition    *Edition // when Stage is Made
}
