package seal

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
	oracle "github.com/tjfoc/gmsm/sm2"

	"yizheng/identity/jose"
)

// TestSM2_AcceptsTheSignatureOldVersionsRejected is the vector of issue #560 of
// emmansun/gmsm: on CPUs with BMI2, versions from 0.29.3 to 0.44.0 reject this valid
// signature (over an all-zero digest).
func TestSM2_AcceptsTheSignatureOldVersionsRejected(t *testing.T) {
	spki, _ := hex.DecodeString("3059301306072a8648ce3d020106082a811ccf5501822d03420004" +
		"ef4de57af00ae424c00c4caadff7193f804a19dd73a7e2954db9d0d15ab4cbba" +
		"67728c3f4572878b7a674735da9fde1682fe2d9e0799c4a5cde57e3d473039a2")
	signature, _ := hex.DecodeString("3046" +
		"022100be0ea64e1ec06f0d247093f3ccbbadcfb6260224272f86ddb78326e7cd6c7560" +
		"022100e9f6ab2fcc48a2cef94838e66b5c7e21fd8e4de25990dd98ca5243f4966f2853")
	key, err := smx509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	if !sm2.VerifyASN1(key.(*ecdsa.PublicKey), make([]byte, 32), signature) {
		t.Error("the valid signature of issue #560 is rejected")
	}
}

// TestSM2_AgreesWithAnIndependentImplementation signs here and verifies there, and
// the other way round.
func TestSM2_AgreesWithAnIndependentImplementation(t *testing.T) { crossCheck(t, 200) }

// crossCheck does so with n random keys and messages.
func crossCheck(t *testing.T, n int) {
	uid := []byte("1234567812345678")
	for i := range n {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			secret, msg := make([]byte, 32), make([]byte, 50*(i%32)+1)
			rand.Read(secret)
			rand.Read(msg)
			secret[0] &= 0x7f // below the order of the curve
			private, err := sm2.NewPrivateKey(secret)
			if err != nil {
				t.Fatal(err)
			}
			key := jose.NewKey(private)
			theirs := &oracle.PrivateKey{PublicKey: oracle.PublicKey{Curve: oracle.P256Sm2()}, D: new(big.Int).SetBytes(secret)}
			spki, err := smx509.MarshalPKIXPublicKey(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			point := spki[len(spki)-64:]
			theirs.X, theirs.Y = new(big.Int).SetBytes(point[:32]), new(big.Int).SetBytes(point[32:])

			der, err := signSM2(key.SM2(), msg)
			if err != nil {
				t.Fatal(err)
			}
			if !theirs.PublicKey.Verify(msg, der) { // uses the default user id
				t.Error("the other implementation rejects our signature")
			}
			r, s, err := oracle.Sm2Sign(theirs, msg, uid, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			cert := &smx509.Certificate{PublicKey: key.Public()}
			if !verifySM2(cert, msg, derOf(r, s)) {
				t.Error("we reject the other implementation's signature")
			}
			msg[0] ^= 1
			if verifySM2(cert, msg, derOf(r, s)) {
				t.Error("we accept a signature of another message")
			}
		})
	}
}

// derOf writes SEQUENCE { r, s } for numbers of up to 32 octets.
func derOf(r, s *big.Int) []byte {
	number := func(n *big.Int) []byte {
		b := n.Bytes()
		if b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	body := append(number(r), number(s)...)
	return append([]byte{0x30, byte(len(body))}, body...)
}
