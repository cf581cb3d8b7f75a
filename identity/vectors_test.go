package identity

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"

	"yizheng/identity/jose"
)

var update = flag.Bool("update", false, "write the test vectors anew: only when a format is meant to change")

// readVectors is docs/protocol/vectors/read-attestation.json. Signatures and
// encryptions are random: the committed tokens are checked and taken over;
// everything else is computed and must come out the same.
type readVectors struct {
	Note           string          `json:"note"`
	GatewayPrivate string          `json:"gateway_private_hex"`
	AgentPrivate   string          `json:"agent_private_hex"`
	Challenge      json.RawMessage `json:"challenge_payload"`
	ChallengeToken string          `json:"challenge_token"`
	CardText       string          `json:"card_text_hex"`
	CardUID        string          `json:"card_uid_hex"`
	Type           IDType          `json:"type"`
	Number         string          `json:"number"`
	Name           string          `json:"name"`
	SaltID         string          `json:"salt_id_hex"`
	SaltName       string          `json:"salt_name_hex"`
	SaltCard       string          `json:"salt_card_hex"`
	IDInput        string          `json:"id_input_hex"`
	IDDigest       string          `json:"id_digest_hex"`
	NameInput      string          `json:"name_input_hex"`
	NameDigest     string          `json:"name_digest_hex"`
	Attestation    json.RawMessage `json:"attestation_payload"`
	AttestToken    string          `json:"attestation_token"`
	Card           json.RawMessage `json:"card_plaintext"`
	CardToken      string          `json:"card_token"`
}

type subjectVectors struct {
	Note       string          `json:"note"`
	Key        string          `json:"key_hex"`
	Kid        string          `json:"kid"`
	Claims     json.RawMessage `json:"plaintext"`
	Token      string          `json:"token"`
	Commitment string          `json:"commitment_hex"`
}

const vectorNote = "Keys and persons are fictional. Tokens hold random values: verify or decrypt them; all other members are exact."

func TestReadAttestationFormatHasNotDrifted(t *testing.T) {
	var v, old readVectors
	load(t, "read-attestation.json", &old)
	v.Note = vectorNote
	v.GatewayPrivate, v.AgentPrivate = strings.Repeat("11", 32), strings.Repeat("44", 32)
	gateway, agent := fixedKey(t, v.GatewayPrivate), fixedKey(t, v.AgentPrivate)

	c := fixedChallenge()
	v.Challenge = compact(t, c)
	v.ChallengeToken = once(t, old.ChallengeToken, func() (string, error) { return SignChallenge(gateway, c) })
	samePayload(t, v.ChallengeToken, v.Challenge)

	card, err := ParseCard(encode(t, vectorCard()))
	if err != nil {
		t.Fatal(err)
	}
	salts := Salts{ID: [16]byte(bytes.Repeat([]byte{0xA1}, 16)), Name: [16]byte(bytes.Repeat([]byte{0xB2}, 16)), Card: [16]byte(bytes.Repeat([]byte{0xC3}, 16))}
	uid := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	v.CardText, v.CardUID = hex.EncodeToString(card.raw[:]), hex.EncodeToString(uid)
	v.Type, v.Number, v.Name = card.Type, card.Number.Reveal(), card.Name.Reveal()
	v.SaltID, v.SaltName, v.SaltCard = hex.EncodeToString(salts.ID[:]), hex.EncodeToString(salts.Name[:]), hex.EncodeToString(salts.Card[:])
	v.IDInput = v.SaltID + hex.EncodeToString([]byte("111"+"690102198806140030"))
	v.NameInput = v.SaltName + hex.EncodeToString([]byte("李𬸚"))
	id, name := IDDigest(salts.ID, card.Type, card.Number), NameDigest(salts.Name, card.Name)
	v.IDDigest, v.NameDigest = hex.EncodeToString(id[:]), hex.EncodeToString(name[:])

	a := newAttestation(v.ChallengeToken, card, Reading{SAM: sam, Seq: 7, At: readAt, UID: uid, OperatorChecked: true, Simulated: true}, salts)
	v.Attestation = compact(t, a)
	v.AttestToken = once(t, old.AttestToken, func() (string, error) { return jose.Sign(agent, TypRead, v.Attestation) })
	samePayload(t, v.AttestToken, v.Attestation)
	verified, err := VerifyAttestation(v.AttestToken, AttestationPolicy{
		GatewayKey:     func(string) *ecdsa.PublicKey { return gateway.Public() },
		AgentKey:       func(string, string) *ecdsa.PublicKey { return agent.Public() },
		SAMAllowed:     func(string, string) bool { return true },
		AllowSimulated: true, Now: readAt,
	})
	if err != nil {
		t.Fatal(err)
	}

	read := CardRead{Card: card, Salts: salts, UID: uid}
	plain, err := read.encode()
	if err != nil {
		t.Fatal(err)
	}
	v.Card = plain
	v.CardToken = once(t, old.CardToken, func() (string, error) { return SealCard(gateway.Public(), read) })
	opened, err := OpenCard(gateway, v.CardToken)
	if err != nil {
		t.Fatal(err)
	}
	if err := verified.MatchesCard(opened); err != nil {
		t.Error(err)
	}
	same(t, "read-attestation.json", v)
}

func TestSubjectTokenFormatHasNotDrifted(t *testing.T) {
	var v, old subjectVectors
	load(t, "subject-token.json", &old)
	v.Note, v.Key, v.Kid = vectorNote, strings.Repeat("22", jose.ContentKeySize), "fleet-1"
	key, _ := hex.DecodeString(v.Key)
	card, err := ParseCard(encode(t, vectorCard()))
	if err != nil {
		t.Fatal(err)
	}
	c := claims(fixture{card: card}, "attestation", Salts{ID: [16]byte(bytes.Repeat([]byte{0xA1}, 16)), Name: [16]byte(bytes.Repeat([]byte{0xB2}, 16))})
	if v.Claims, err = c.encode(); err != nil {
		t.Fatal(err)
	}
	v.Token = once(t, old.Token, func() (string, error) { return MintSubject(key, v.Kid, c) })
	got, err := OpenSubject(func(string) []byte { return key }, v.Token, readAt.Add(time.Minute))
	if err != nil || got != c {
		t.Errorf("the committed token: %v", err)
	}
	v.Commitment = hex.EncodeToString(got.Commitment())
	same(t, "subject-token.json", v)
}

func vectorCard() CardText {
	return CardText{
		Layout: LayoutResident, Name: "李𬸚", Sex: "1", Nation: "01", Birth: "19880614", Address: "示例省示例市城东区人民路1号",
		Number: "690102198806140030", Issuer: "示例市公安局城东分局", ValidFrom: "20200101", ValidTo: "20400101",
	}
}

func fixedChallenge() Challenge {
	return Challenge{
		V: 1, Origin: "gateway.example", ReadSession: "rs-1", Caller: "hall", Workstation: "w1", Operator: "op1",
		Item: "item-1", Situation: "s1", Case: "case-1", Purpose: "p1", Role: "applicant",
		Nonce:    b64.EncodeToString(bytes.Repeat([]byte{0xD4}, NonceSize)),
		IssuedAt: readAt.Add(-time.Second).UnixMilli(), Expires: readAt.Add(59 * time.Second).UnixMilli(),
	}
}

func fixedKey(t *testing.T, private string) *jose.Key {
	t.Helper()
	raw, err := hex.DecodeString(private)
	if err != nil {
		t.Fatal(err)
	}
	k, err := sm2.NewPrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return jose.NewKey(k)
}

func samePayload(t *testing.T, token string, want []byte) {
	t.Helper()
	if got, err := jose.Unverified(token); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the committed token holds\n%s\nnow it would be\n%s", got, want)
	}
}

func once(t *testing.T, committed string, make func() (string, error)) string {
	t.Helper()
	if !*update {
		return committed
	}
	token, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func compact(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

const vectorDir = "../docs/protocol/vectors/"

func load(t *testing.T, name string, v any) {
	t.Helper()
	raw, err := os.ReadFile(vectorDir + name)
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil && !*update {
		t.Fatal(err)
	}
}

// same compares v with the committed file, or writes it.
func same(t *testing.T, name string, v any) {
	t.Helper()
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	raw = append(raw, '\n')
	if *update {
		if err := os.WriteFile(vectorDir+name, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if committed, err := os.ReadFile(vectorDir + name); err != nil || !bytes.Equal(raw, committed) {
		t.Errorf("the format is not the one of %s any more; now\n%s", name, raw)
	}
}
