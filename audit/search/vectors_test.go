package search

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"testing"

	"yizheng/audit"
)

// The vectors were computed without any of our code.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile("../../docs/protocol/vectors/audit-search.json")
	must(t, err)
	var v struct {
		Salt       string             `json:"salt"`
		Numbers    []string           `json:"numbers"`
		Subjects   string             `json:"subjects"`
		Pseudonyms []audit.SubjectRef `json:"pseudonyms"`
		List       string             `json:"list"`
		Filter     Filter             `json:"filter"`
		Digest     string             `json:"filter_digest"`
	}
	must(t, json.Unmarshal(data, &v))
	salt, err := base64.StdEncoding.DecodeString(v.Salt)
	must(t, err)
	if got := Commit(salt, v.Numbers); got != v.Subjects {
		t.Errorf("subjects %s, want %s", got, v.Subjects)
	}
	if got := ListDigest(v.Pseudonyms); got != v.List {
		t.Errorf("list %s, want %s", got, v.List)
	}
	got, err := FilterDigest(salt, v.Filter)
	must(t, err)
	if got != v.Digest {
		t.Errorf("filter %s, want %s", got, v.Digest)
	}
}
