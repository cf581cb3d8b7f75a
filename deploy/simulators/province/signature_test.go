package main

import "testing"

// The vectors of docs/protocol/national-platform.md, made with OpenSSL.
func TestSignature_Vectors(t *testing.T) {
	const secret = "SECRETSECRETSECRETSECRET26"
	for name, test := range map[string]struct {
		key   string
		parts []string
		want  string
	}{
		"token":  {"app-key-of-690100", []string{"si-contributions", "690100-yizheng", "1795312800000"}, "QnDoqcvaZCprKxHZuALl8L4daJfJI1faou5YY3FsiPc="},
		"query":  {secret, []string{"si-contributions", "690100-yizheng", "1795312800001"}, "XbgO4nrMG0Eu72pDXml5EFldCf0IYoqUH1i1d89LeXY="},
		"answer": {secret, []string{"si-contributions", "690100-yizheng", "1795312800001", sm3Hex([]byte(`{"code":"01"}`))}, "LfNlXjGTruNPnSW42MB/Vb1egvRF9KDtL4OZSOs5/2M="},
	} {
		t.Run(name, func(t *testing.T) {
			if got := signature(test.key, test.parts...); got != test.want {
				t.Errorf("got %s", got)
			}
		})
	}
}
