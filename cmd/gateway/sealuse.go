package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
	"yizheng/seal/life"
)

// sealUse is one use of a seal as the audit log tells it, a line of JSON.
type sealUse struct {
	Time    time.Time `json:"time"`
	Log     string    `json:"log"` // directory of the quarter
	Index   uint64    `json:"index"`
	Use     string    `json:"use"` // release, seal (by a front), test
	Number  string    `json:"number,omitempty"`
	Outcome string    `json:"outcome,omitempty"`
	// Others are the seals that may have been used in its place: the record of a
	// sensitive proof names every seal its issuer may have, whatever was found.
	Others []string `json:"others,omitempty"`
}

// printUses tells every use of a seal, out of the audit log of the configuration.
func (o *sealOffice) printUses(ctx context.Context, out io.Writer, id string, asJSON bool) error {
	dirs, key, err := o.audit()
	if err != nil {
		return err
	}
	n := 0
	for _, dir := range dirs {
		var last *sealUse // a release, whose issue record is the next entry
		tell := func() error {
			u := last
			if last = nil; u == nil {
				return nil
			}
			n++
			if asJSON {
				return json.NewEncoder(out).Encode(u)
			}
			_, err := fmt.Fprintln(out, u)
			return err
		}
		err := audit.Find(ctx, dir, []audit.Op{audit.OpRelease, audit.OpIssue, audit.OpSeal, audit.OpSealStep}, func(e audit.Stored) error {
			if last != nil && e.Entry.Open.Op == audit.OpIssue && e.Index == last.Index+1 {
				last.Number = e.Entry.Open.Number
			}
			if err := tell(); err != nil {
				return err
			}
			last = usedIn(e, dir, id)
			return nil
		}, key)
		if err == nil {
			err = tell()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	if !asJSON {
		fmt.Fprintf(out, "共 %d 次 / uses\n", n)
	}
	return nil
}

// usedIn is the use of a seal that an entry records, nil for none.
func usedIn(e audit.Stored, dir, id string) *sealUse {
	open, seals := e.Entry.Open, strings.Fields(e.Entry.Closed.Object)
	own := slices.Index(seals, "seal/"+id)
	step := open.Op == audit.OpSealStep && open.Status != string(life.Test)
	if own < 0 || open.Op == audit.OpIssue || step {
		return nil
	}
	u := &sealUse{Time: time.UnixMicro(open.Time).UTC(), Log: dir, Index: e.Index, Use: string(open.Op), Outcome: open.Outcome}
	if open.Op == audit.OpSealStep {
		u.Use = string(life.Test)
	}
	for _, other := range slices.Delete(seals, own, own+1) {
		u.Others = append(u.Others, strings.TrimPrefix(other, "seal/"))
	}
	return u
}

func (u *sealUse) String() string {
	s := fmt.Sprintf("%s  %-8s %-30s %-16s %s#%d", u.Time.In(beijing.Zone()).Format(time.DateTime), u.Use, orDash(u.Number), orDash(u.Outcome), u.Log, u.Index)
	if len(u.Others) > 0 {
		s += "  或 / or: " + strings.Join(u.Others, " ")
	}
	return s
}
