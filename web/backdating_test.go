package web_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"yizheng/seal"
	"yizheng/seal/pdf/pdftest"
	"yizheng/web"
)

// TestVerify_TheRecordOfTheIssueProvesTheSigningTime against a key that was stolen
// later: the log has had the document before.
func TestVerify_TheRecordOfTheIssueProvesTheSigningTime(t *testing.T) {
	var maker seal.Credential
	var list string
	g := startIn(t, nil, func(seals, trusted string) {
		list = filepath.Join(trusted, "seals-status.json")
		maker = otherMaker(t, seals, trusted)
	}, func(*web.Server) {})
	a := g.connect("ws-01", "381204")
	r := g.sealed(t, g.login("clerk-01", a), a)
	if len(r.Document) == 0 {
		t.Fatalf("no document: %s", r.Code)
	}
	raw, err := seal.SignStatusList(maker, seal.StatusList{Number: 1, Issued: time.Now(), Next: time.Now().Add(time.Hour),
		Events: []seal.Event{{ESID: "re", State: seal.Revoked, At: time.Now(), Reason: "COMPROMISED"}}})
	ok(t, err)
	ok(t, os.WriteFile(list, raw, 0o600))
	ok(t, g.trust.ReloadStatus())
	if r := seal.Verify(r.Document, g.trust, time.Now()); r.Overall || !r.Unproven {
		t.Fatalf("by itself the document claims its time only: %+v", r.Checks)
	}
	var v struct {
		Report seal.Report
		Record struct {
			Matches  bool
			Recorded time.Time
		}
	}
	g.as("").call(http.MethodPost, "/v1/verify", r.Document, "Content-Type", "application/pdf").into(t, &v)
	if !v.Report.Overall || v.Report.Unproven || !v.Record.Matches || time.Since(v.Record.Recorded) > time.Minute {
		t.Errorf("with the record of its issue: %+v, %+v", v.Record, v.Report.Checks)
	}
}

// otherMaker has made the seal re anew; the test has its key.
func otherMaker(t *testing.T, seals, trusted string) seal.Credential {
	t.Helper()
	v := seal.Validity{From: time.Now().AddDate(0, 0, -1), Until: time.Now().AddDate(1, 0, 0)}
	root, err := seal.MakeRoot(seal.Subject{Name: "云州测试根"}, v)
	ok(t, err)
	maker, err := seal.MakeMaker(root, seal.Subject{Name: "云州市印章制作中心"}, v)
	ok(t, err)
	holder, err := seal.MakeHolder(root, seal.Subject{Name: "云州市自然资源和规划局"}, v)
	ok(t, err)
	ok(t, os.WriteFile(filepath.Join(trusted, "roots/other.crt"), root.CertPEM(), 0o600))
	ok(t, os.WriteFile(filepath.Join(trusted, "makers/other.crt"), maker.CertPEM(), 0o600))
	picture, err := seal.DrawRoundSeal(seal.RoundSeal{FontPath: pdftest.WriteFont(t, t.TempDir()), Name: "云州市自然资源和规划局"})
	ok(t, err)
	der, err := seal.MakeSeal(maker, seal.SealOrder{ESID: "re", Name: "云州市自然资源和规划局不动产登记专用章", VendorID: "YZ", PictureGIF: picture, WidthMM: 42, HeightMM: 42,
		Created: time.Now(), Validity: v, HolderCert: holder.Cert})
	ok(t, err)
	ok(t, os.RemoveAll(filepath.Join(seals, "re")))
	ok(t, os.RemoveAll(filepath.Join(seals, "journal.jws"))) // it tells of the other one
	ok(t, seal.WriteSealDir(seals, "re", seal.SealDir{Seal: der, Holder: holder, Since: time.Now()}))
	return maker
}
