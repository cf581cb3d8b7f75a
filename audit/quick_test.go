//go:build !integration

package audit

// The quick tier takes samples; the integration tier leaves nothing out.
const (
	leastPlaces  = 900
	truncateStep = 61
	writtenStep  = 41
	tornSeeds    = 100
	modelRuns    = 12
)

// flipMasks: one bit of every fifth byte, and of fewer where everything is zero.
func flipMasks(at int, zeros, _ bool) []byte {
	if at%5 != 0 || zeros && at%61 != 0 {
		return nil
	}
	return []byte{1 << (at % 8)}
}
