package handover

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/smx509"

	"yizheng/audit"
	"yizheng/identity/jose"
	"yizheng/seal/tsp"
)

// ErrBad is wrapped by everything that is wrong with a file.
var ErrBad = errors.New("handover: does not verify")

// Pins are what a verifier knows beforehand.
type Pins struct {
	Log        []*ecdsa.PublicKey // of the audit log
	Signers    []*ecdsa.PublicKey // gateways' keys
	StampRoots *smx509.CertPool   // of time stamp authorities; nil: the stamp is not judged
}

// Report is what a good file says.
type Report struct {
	Manifest
	Head      audit.SignedHead
	StampedAt time.Time // zero: without a time stamp, or not judged
}

// Bounds of what a file may hold: no more than a quarter of a big city, and no
// bomb.
const (
	maxFile     = 1 << 30
	maxManifest = 4 << 20
	maxLine     = 128 << 10
)

// Verify checks a whole file: that nothing was added, removed or changed since the
// gateway signed it, and that every record lies under the log's final head. Errors
// wrap ErrBad and name the file inside.
func Verify(r io.ReaderAt, size int64, pins Pins) (Report, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return Report{}, fmt.Errorf("%w: not a ZIP file: %w", ErrBad, err)
	}
	v := &verifier{files: map[string]*zip.File{}, pins: pins}
	for _, f := range z.File {
		if v.files[f.Name] != nil {
			return Report{}, fmt.Errorf("%w: %s is there twice", ErrBad, f.Name)
		}
		v.files[f.Name] = f
	}
	for _, step := range []func() error{v.manifest, v.stamp, v.content, v.head, v.records} {
		if err := step(); err != nil {
			return v.report, fmt.Errorf("%w: %w", ErrBad, err)
		}
	}
	return v.report, nil
}

type verifier struct {
	files     map[string]*zip.File
	pins      Pins
	signature []byte
	report    Report
}

func (v *verifier) read(name string, limit int64) ([]byte, error) {
	f := v.files[name]
	if f == nil {
		return nil, fmt.Errorf("%s is missing", name)
	}
	in, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("longer than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return raw, nil
}

// manifest believes the manifest by its signature.
func (v *verifier) manifest() error {
	text, err := v.read(nameManifest, maxManifest)
	if err != nil {
		return err
	}
	if v.signature, err = v.read(nameSignature, 2*maxManifest); err != nil {
		return err
	}
	signed, _, err := jose.Verify(string(v.signature), typManifest, func(kid string) *ecdsa.PublicKey {
		i := slices.IndexFunc(v.pins.Signers, func(k *ecdsa.PublicKey) bool { return jose.KeyID(k) == kid })
		if i < 0 {
			return nil
		}
		return v.pins.Signers[i]
	})
	if err != nil {
		return fmt.Errorf("%s: %w", nameSignature, err)
	}
	if !bytes.Equal(signed, text) {
		return fmt.Errorf("%s is not what was signed", nameManifest)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v.report.Manifest); err != nil || v.report.V != 1 {
		return fmt.Errorf("%s is not of version 1", nameManifest)
	}
	return nil
}

func (v *verifier) stamp() error {
	switch there := v.files[nameStamp] != nil; {
	case v.report.Stamped && !there:
		return fmt.Errorf("%s is missing", nameStamp)
	case !v.report.Stamped && there:
		return fmt.Errorf("%s was added", nameStamp)
	case !there || v.pins.StampRoots == nil:
		return nil
	}
	raw, err := v.read(nameStamp, tsp.MaxToken)
	if err != nil {
		return err
	}
	token, err := tsp.Parse(raw)
	if err == nil {
		_, err = token.Verify(v.signature, v.pins.StampRoots, smx509.NewCertPool())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", nameStamp, err)
	}
	v.report.StampedAt = token.GenTime
	return nil
}

// content holds every file to the manifest, both ways.
func (v *verifier) content() error {
	listed := map[string]bool{nameManifest: true, nameSignature: true, nameStamp: true}
	for _, f := range v.report.Files {
		if listed[f.Name] {
			return fmt.Errorf("%s is listed twice", f.Name)
		}
		listed[f.Name] = true
		z := v.files[f.Name]
		if z == nil {
			return fmt.Errorf("%s is missing", f.Name)
		}
		in, err := z.Open()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		h := sm3.New()
		n, err := io.Copy(h, io.LimitReader(in, maxFile))
		if err = errors.Join(err, in.Close()); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if n != f.Bytes || hex.EncodeToString(h.Sum(nil)) != f.SM3 {
			return fmt.Errorf("%s was changed", f.Name)
		}
	}
	for name := range v.files {
		if !listed[name] {
			return fmt.Errorf("%s was added", name)
		}
	}
	return nil
}

// head believes the checkpoint by the log's key.
func (v *verifier) head() error {
	note, err := v.read(nameCheckpoint, 64<<10)
	if err != nil {
		return err
	}
	head, err := audit.ParseCheckpoint(note)
	if err != nil {
		return fmt.Errorf("%s: %w", nameCheckpoint, err)
	}
	if head.Origin != v.report.Origin {
		return fmt.Errorf("%s is of %s", nameCheckpoint, head.Origin)
	}
	bad := errors.New("no key of the log is given")
	for _, k := range v.pins.Log {
		if bad = head.Verify(k); bad == nil {
			break
		}
	}
	if bad != nil {
		return fmt.Errorf("%s: %w", nameCheckpoint, bad)
	}
	v.report.Head = head
	return nil
}

// records proves each line, and counts.
func (v *verifier) records() error {
	f := v.files[nameRecords]
	if f == nil {
		return fmt.Errorf("%s is missing", nameRecords)
	}
	in, err := f.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", nameRecords, err)
	}
	defer in.Close()
	lines := bufio.NewScanner(io.LimitReader(in, maxFile))
	lines.Buffer(nil, maxLine)
	count := map[audit.Op]int{}
	last := map[audit.Op]uint64{}
	for n := 1; lines.Scan(); n++ {
		op, index, err := v.record(lines.Bytes())
		if err == nil && count[op] > 0 && index <= last[op] {
			err = errors.New("out of order")
		}
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", nameRecords, n, err)
		}
		count[op]++
		last[op] = index
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", nameRecords, err)
	}
	if count[audit.OpIssue] != v.report.Issued || count[audit.OpWithdraw] != v.report.Withdrawn || len(count) > 2 {
		return fmt.Errorf("%s holds %d issued and %d withdrawn, the manifest says %d and %d", nameRecords,
			count[audit.OpIssue], count[audit.OpWithdraw], v.report.Issued, v.report.Withdrawn)
	}
	return nil
}

func (v *verifier) record(line []byte) (audit.Op, uint64, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	var r record
	if err := dec.Decode(&r); err != nil {
		return "", 0, errors.New("not a record")
	}
	var open struct {
		Op audit.Op `json:"op"`
	}
	if err := json.Unmarshal(r.Open, &open); err != nil || open.Op != audit.OpIssue && open.Op != audit.OpWithdraw {
		return "", 0, errors.New("neither issued nor withdrawn")
	}
	receipt := audit.Receipt{Origin: v.report.Origin, Index: r.Index, Head: v.report.Head, Proof: make([]audit.Hash, len(r.Proof))}
	var closed audit.Hash
	ok := copy(closed[:], r.ClosedSM3) == len(r.ClosedSM3)
	for i, h := range r.Proof {
		ok = ok && len(h) == len(closed)
		copy(receipt.Proof[i][:], h)
	}
	if !ok {
		return "", 0, errors.New("a hash of another length")
	}
	receipt.Leaf = audit.LeafHashWithheld(r.Open, closed)
	return open.Op, r.Index, receipt.Includes(receipt.Leaf)
}

// String says in both languages what was found.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "移交包完整有效 / the hand-over is whole and good\n日志 / log: %s，%d 条 / entries\n签发 / issued: %d\n撤回 / withdrawn: %d\n制作时间 / made: %s\n",
		r.Origin, r.Head.Size, r.Issued, r.Withdrawn, r.Made.Format(time.RFC3339))
	switch {
	case !r.Stamped:
		b.WriteString("时间戳 / time stamp: 没有 / none\n")
	case r.StampedAt.IsZero():
		b.WriteString("时间戳 / time stamp: 有，未给出其根证书，未判断 / there, not judged: its roots were not given\n")
	default:
		fmt.Fprintf(&b, "时间戳 / time stamp: %s\n", r.StampedAt.Format(time.RFC3339))
	}
	return b.String()
}
