package demo

import (
	"crypto/ecdsa"

	"yizheng/audit"
)

// receiptHolds reports whether a receipt's entry is under the log's signed head.
func receiptHolds(text string, key *ecdsa.PublicKey) bool {
	r, err := audit.ParseReceipt([]byte(text))
	return err == nil && r.Verify(key, r.Leaf) == nil
}

func verifyOptions(key *ecdsa.PublicKey) audit.VerifyOptions {
	return audit.VerifyOptions{Keys: []*ecdsa.PublicKey{key}}
}
