//go:build long

package index

import "testing"

// BenchmarkSearchHundredMillion takes 10 GB in the directory of temporary files:
//
//	go test -tags long -run '^$' -bench SearchHundredMillion -benchtime 1x -timeout 3h ./audit/index
func BenchmarkSearchHundredMillion(b *testing.B) { searchAmong(b, 100_000_000, 100) }
