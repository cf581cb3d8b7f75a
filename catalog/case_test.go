package catalog

import (
	"strings"
	"testing"
)

func TestValidCase(t *testing.T) {
	for _, tt := range []struct {
		name, number string
		want         bool
	}{
		{"as cities write them", "SJ-2026〔11〕000123", true},
		{"longest", strings.Repeat("号", 64), true},
		{"empty", "", false},
		{"too long", strings.Repeat("a", 65), false},
		{"control character", "SJ\x1b[2J", false},
		{"line break", "SJ\n1", false},
		{"space around", " SJ1", false},
		{"broken UTF-8", "SJ\xff", false},
		{"bidirectional override", "SJ\u202e1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ValidCase(tt.number); got != tt.want {
				t.Errorf("ValidCase(%q) = %v, want %v", tt.number, got, tt.want)
			}
		})
	}
}
