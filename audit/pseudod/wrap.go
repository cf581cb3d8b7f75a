package pseudod

import (
	"errors"
	"fmt"

	"yizheng/audit"
	"yizheng/identity/jose"
)

// TypePseudonymKey is the JWE typ of a key at rest.
const TypePseudonymKey = "yz-pseudonym-key+jwe"

// Wrap encrypts keys at rest to an SM2 key, with SM4-GCM. What another key
// encrypted does not open: the error is a jose.ErrUnknownKey.
func Wrap(kek *jose.Key) audit.KeyWrap {
	return audit.KeyWrap{
		Seal: func(text []byte) (string, error) { return jose.EncryptSM2(kek.Public(), TypePseudonymKey, text) },
		Open: func(sealed string) ([]byte, error) {
			opened, err := jose.DecryptSM2(kek, TypePseudonymKey, sealed)
			switch {
			case errors.Is(err, jose.ErrUnknownKey):
				return nil, fmt.Errorf("不是用所给的保护密钥加密的，请核对配置 / it was encrypted to another key than the configuration names: %w", err)
			case err != nil:
				return nil, fmt.Errorf("密钥文件已损坏 / the file is damaged: %w", err)
			}
			return opened, nil
		},
	}
}
