// Package handover hands a sealed quarter's records of documents over to an
// archive (档案移交): a file that proves by itself, decades later and without the
// gateway, which documents were issued and withdrawn, and that could be verified
// then.
//
// It is a ZIP of
//
//	manifest.json    what is in it, with SM3 digests; docs/protocol/archive-handover.md
//	manifest.jws     the gateway's signature of it (typ yz-handover+jws)
//	manifest.tst     an RFC 3161 time stamp over the signature, where there is an authority
//	log.json         the log's name and keys, signed
//	checkpoint       the quarter's final head, with the witnesses' cosignatures
//	records.jsonl    one line an entry (issue or withdraw): its open half, the hash of
//	                 its closed half, and its proof under the head
//	trust/…          roots, makers, intermediates, time stamp roots, revocation lists and
//	                 status lists of seals, as they were believed
//	README.txt       how to verify it
//
// The documents themselves are not in it: nobody here keeps them. Whoever has one
// finds its record by its number. Entries of issue and withdrawal are public facts:
// department, kind of proof, dates, status and a salted digest; no resident.
package handover

import (
	"archive/zip"
	"context"
	_ "embed" // README.txt
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"yizheng/audit"
	"yizheng/identity/jose"
	"yizheng/seal/tsp"
)

const typManifest = "yz-handover+jws"

// Names inside the file.
const (
	nameManifest   = "manifest.json"
	nameSignature  = "manifest.jws"
	nameStamp      = "manifest.tst"
	nameLog        = "log.json"
	nameCheckpoint = "checkpoint"
	nameRecords    = "records.jsonl"
	nameReadme     = "README.txt"
	dirTrust       = "trust"
)

//go:embed README.txt
var readme string

// Source is what is handed over, and by whom.
type Source struct {
	Dir     string         // the sealed shard's directory
	Shard   *audit.Archive // the same, opened
	Trust   string         // the trust directory (package seal)
	Signer  *jose.Key      // the gateway's key
	Stamper *tsp.Client    // nil: no time stamp
	Now     time.Time
}

// Manifest says what is in a file.
type Manifest struct {
	V         int       `json:"v"`
	Origin    string    `json:"origin"` // of the log: host/path/quarter
	Made      time.Time `json:"made"`
	Issued    int       `json:"issued"`
	Withdrawn int       `json:"withdrawn"`
	Stamped   bool      `json:"stamped,omitempty"` // a time stamp belongs to the file
	Files     []File    `json:"files"`             // all but the manifest and what is over it, by name
}

// File is one entry of the ZIP.
type File struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	SM3   string `json:"sm3"` // lower hex
}

// record is one line of records.jsonl.
type record struct {
	Index     uint64          `json:"index"`
	Open      json.RawMessage `json:"open"` // byte for byte as in the log
	ClosedSM3 []byte          `json:"closed_sm3"`
	Proof     [][]byte        `json:"proof"` // from the leaf's sibling upwards
}

// Write writes the file. Errors wrap those of the shard, tsp.ErrUnavailable, or
// the writer's; what was written then is no hand-over.
func Write(ctx context.Context, out io.Writer, s Source) (Manifest, error) {
	w := &writer{zip: zip.NewWriter(out), made: s.Now.UTC().Truncate(time.Second)}
	w.m = Manifest{V: 1, Origin: s.Shard.Origin(), Made: w.made, Stamped: s.Stamper != nil}
	for _, name := range []string{nameLog, nameCheckpoint} {
		raw, err := os.ReadFile(filepath.Join(s.Dir, name))
		if err != nil {
			return w.m, fmt.Errorf("handover: %w", err)
		}
		if err := w.put(name, raw); err != nil {
			return w.m, err
		}
	}
	if err := w.file(nameRecords, func(f io.Writer) error { return w.records(ctx, f, s.Shard) }); err != nil {
		return w.m, err
	}
	if err := w.trust(s.Trust); err != nil {
		return w.m, err
	}
	if err := w.put(nameReadme, []byte(readme)); err != nil {
		return w.m, err
	}
	if err := w.sign(ctx, s); err != nil {
		return w.m, err
	}
	if err := w.zip.Close(); err != nil {
		return w.m, fmt.Errorf("handover: %w", err)
	}
	return w.m, nil
}

type writer struct {
	zip  *zip.Writer
	made time.Time
	m    Manifest
}

// file adds a file and its digest.
func (w *writer) file(name string, write func(io.Writer) error) error {
	f, err := w.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: w.made})
	if err != nil {
		return fmt.Errorf("handover: %s: %w", name, err)
	}
	h, n := sm3.New(), counter(0)
	if err := write(io.MultiWriter(f, h, &n)); err != nil {
		return fmt.Errorf("handover: %s: %w", name, err)
	}
	w.m.Files = append(w.m.Files, File{Name: name, Bytes: int64(n), SM3: hex.EncodeToString(h.Sum(nil))})
	return nil
}

func (w *writer) put(name string, raw []byte) error {
	return w.file(name, func(f io.Writer) error { _, err := f.Write(raw); return err })
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// records writes the entries of both kinds, in the log's order.
func (w *writer) records(ctx context.Context, f io.Writer, a *audit.Archive) error {
	enc := json.NewEncoder(f)
	enc.SetEscapeHTML(false) // the open half stays as it is
	line := func(n *int) func(uint64, audit.Stored) error {
		return func(index uint64, e audit.Stored) error {
			r, err := a.Receipt(index)
			if err != nil {
				return err
			}
			*n++
			closed := e.ClosedHash()
			line := record{Index: index, Open: e.OpenJSON, ClosedSM3: closed[:], Proof: make([][]byte, len(r.Proof))}
			for i := range r.Proof {
				line.Proof[i] = r.Proof[i][:]
			}
			return enc.Encode(line)
		}
	}
	if err := a.Find(ctx, audit.OpIssue, line(&w.m.Issued)); err != nil {
		return err
	}
	return a.Find(ctx, audit.OpWithdraw, line(&w.m.Withdrawn))
}

// trust adds the plain files of the trust directory.
func (w *writer) trust(dir string) error {
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		switch filepath.Ext(p) {
		case ".crt", ".crl", ".json":
			raw, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			return w.put(path.Join(dirTrust, filepath.ToSlash(rel)), raw)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("handover: trust: %w", err)
	}
	return nil
}

// sign ends the file with its manifest, the signature and the stamp over that.
func (w *writer) sign(ctx context.Context, s Source) error {
	slices.SortFunc(w.m.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	text, err := json.MarshalIndent(w.m, "", "  ")
	if err != nil {
		return fmt.Errorf("handover: manifest: %w", err)
	}
	token, err := jose.Sign(s.Signer, typManifest, text)
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	files := w.m.Files // what is over the manifest is not in it
	if err := w.put(nameManifest, text); err != nil {
		return err
	}
	if err := w.put(nameSignature, []byte(token)); err != nil {
		return err
	}
	if s.Stamper != nil {
		stamp, _, err := s.Stamper.Stamp(ctx, []byte(token))
		if err != nil {
			return fmt.Errorf("handover: %w", err)
		}
		if err := w.put(nameStamp, stamp); err != nil {
			return err
		}
	}
	w.m.Files = files
	return nil
}
