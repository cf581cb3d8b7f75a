//go:build !pkcs11

package keystore

import "crypto/ecdsa"

func openModule(string, *ecdsa.PublicKey) (*Key, error) { return nil, ErrNotBuilt }
