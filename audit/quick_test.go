//go:build !integration

package audit

// flipStep is how far apart the flipped bytes are where everything is zero;
// the integration tier flips every one.
const flipStep = 61
