package main

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"yizheng/audit"
	"yizheng/catalog/beijing"
	"yizheng/identity/jose"
	"yizheng/seal"
)

// logProof is what of an online answer needs no belief: with the log's key in hand, the
// issue leaf that the gateway shows is held against the document, and its receipt
// against the log's signed head. A receipt kept from the issue must be of the same
// leaf. Nothing proves that a document was not withdrawn.
type logProof struct {
	Result   seal.Result `json:"result"`            // ok; fail: what is shown proves nothing, or something else
	Origin   string      `json:"origin,omitempty"`  // of the log
	Index    uint64      `json:"index,omitempty"`   // of the issue leaf in it
	Size     uint64      `json:"size,omitempty"`    // entries under the signed head
	Head     time.Time   `json:"head,omitzero"`     // when that was signed
	Recorded time.Time   `json:"recorded,omitzero"` // when the log took the record of the issue
	Proved   []string    `json:"proved,omitempty"`  // members of online that the proof covers
	Told     []string    `json:"told,omitempty"`    // that are only the gateway's word
	Reason   seal.Text   `json:"reason"`
}

// issueLeaf is the part of an answer of POST /v1/verify that can be proved.
type issueLeaf struct {
	Receipt string `json:"receipt"`
	Open    string `json:"open"`
	Closed  []byte `json:"closed"`
}

// logKeys is what -log-key and -receipt give.
type logKeys struct {
	keys []*ecdsa.PublicKey // pinned keys of the log; empty: nothing is to be proved
	kept *audit.Receipt     // of the issue, kept from then; nil: none
}

// readLogKeys reads the keys in comma-separated files, and a receipt.
func readLogKeys(keys, receipt string) (l logKeys, err error) {
	if keys == "" {
		return l, nil
	}
	for file := range strings.SplitSeq(keys, ",") {
		key, err := jose.ReadPublicKey(file)
		if err != nil {
			return l, fmt.Errorf("-log-key: %w", err)
		}
		l.keys = append(l.keys, key)
	}
	if receipt == "" {
		return l, nil
	}
	text, err := readFile(receipt, maxReceipt)
	if err != nil {
		return l, fmt.Errorf("-receipt: %w", err)
	}
	kept, err := audit.ParseReceipt(text)
	if err != nil {
		return l, fmt.Errorf("-receipt: %s: %w", receipt, err)
	}
	l.kept = &kept
	return l, nil
}

// maxReceipt in bytes; one has at most 64 hashes and some signatures.
const maxReceipt = 64 << 10

// prove holds an answer about a document against the log's keys.
func (l logKeys) prove(number string, digest []byte, shown issueLeaf) *logProof {
	p, err := l.proven(number, digest, shown)
	if err != nil {
		return &logProof{Result: seal.Fail, Told: []string{"state", "matches"},
			Reason: seal.Text{ZH: "日志：网关所示的签发记录未能证明（" + err.Error() + "），请勿采信其回答", EN: "log: what the gateway shows of the issue is not proved (" + err.Error() + "), do not rely on its answer"}}
	}
	at := p.Recorded.In(beijing.Zone()).Format(time.DateTime)
	p.Reason = seal.Text{
		ZH: fmt.Sprintf("日志：已证明——这一份文件的签发于 %s 记入日志 %s 第 %d 条（日志已签名的 %d 条之内）；只凭网关所说——现在是否已撤回", at, p.Origin, p.Index, p.Size),
		EN: fmt.Sprintf("log: proved: the issue of this very document was recorded at %s as entry %d of log %s (of %d under its signed head); only told: whether it is withdrawn by now", at, p.Index, p.Origin, p.Size),
	}
	return p
}

func (l logKeys) proven(number string, digest []byte, shown issueLeaf) (*logProof, error) {
	if shown.Receipt == "" {
		return nil, errors.New("没有给出证明 / no proof was given")
	}
	receipt, err := audit.ParseReceipt([]byte(shown.Receipt))
	if err != nil {
		return nil, err
	}
	var closed audit.Hash
	if copy(closed[:], shown.Closed) != len(closed) || len(shown.Closed) != len(closed) {
		return nil, errors.New("记录不完整 / the record is not whole")
	}
	leaf := audit.LeafHashWithheld([]byte(shown.Open), closed)
	if err := l.verify(receipt, leaf); err != nil {
		return nil, err
	}
	if l.kept != nil {
		if err := l.verify(*l.kept, leaf); err != nil || l.kept.Index != receipt.Index || l.kept.Origin != receipt.Origin {
			return nil, errors.New("与所存的回执不是同一条记录 / the receipt that was kept is of another record")
		}
	}
	var open audit.Open
	if err := json.Unmarshal([]byte(shown.Open), &open); err != nil {
		return nil, errors.New("记录读不懂 / the record cannot be read")
	}
	have, err := base64.StdEncoding.DecodeString(open.Digest)
	if open.Op != audit.OpIssue || open.Number != number || err != nil || !bytes.Equal(have, digest) {
		return nil, errors.New("记录不是这一份文件的签发 / the record is not of the issue of this document")
	}
	return &logProof{
		Result: seal.OK, Origin: receipt.Origin, Index: receipt.Index, Size: receipt.Head.Size, Head: time.UnixMicro(receipt.Head.Time).UTC(),
		Recorded: time.UnixMicro(open.Time).UTC(), Proved: []string{"matches", "recorded"}, Told: []string{"state"},
	}, nil
}

// verify checks a receipt of a leaf with any of the keys.
func (l logKeys) verify(r audit.Receipt, leaf audit.Hash) (err error) {
	for _, key := range l.keys {
		if err = r.Verify(key, leaf); err == nil {
			return nil
		}
	}
	return err
}
