//go:build !integration

package audit

// The quick tier flips every third byte, and fewer where everything is zero;
// the integration tier flips every one.
const (
	flipStep  = 3
	flipZeros = 61
)
