package supervise

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"yizheng/audit"
	"yizheng/identity/jose"
)

func (h *hall) snapshotFile() string { return filepath.Join(h.dir, "state", snapshotName) }

func (h *hall) saved() []byte {
	h.t.Helper()
	raw, err := os.ReadFile(h.snapshotFile())
	if err != nil {
		h.t.Fatal(err)
	}
	return raw
}

func (h *hall) putBack(raw []byte) {
	h.t.Helper()
	if err := os.WriteFile(h.snapshotFile(), raw, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// alarms counts those about the snapshot.
func (h *hall) alarms() (n int) {
	h.t.Helper()
	err := h.log.Read(h.t.Context(), 0, h.log.Head().Size, func(_ uint64, s audit.Stored) error {
		if s.Entry.Open.Op == audit.OpAlarm && s.Entry.Open.Outcome == "SUPERVISION_STATE" {
			n++
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// signed is a snapshot as only a holder of the key can make it.
func signed(t *testing.T, key *jose.Key, typ string, s seal, text []byte) []byte {
	t.Helper()
	payload, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	line, err := jose.Sign(key, typ, payload)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(line+"\n"), text...)
}

func TestAChangedSnapshotHidesNoCard(t *testing.T) {
	stranger, err := jose.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(h *hall, line, text []byte) []byte{
		"a card taken out": func(h *hall, line, text []byte) []byte {
			st := newState()
			if err := json.Unmarshal(text, st); err != nil {
				h.t.Fatal(err)
			}
			clear(st.Cards)
			out, err := json.Marshal(st)
			if err != nil {
				h.t.Fatal(err)
			}
			return append(append(line, '\n'), out...)
		},
		"another key": func(_ *hall, line, text []byte) []byte {
			return signed(t, stranger, typeSeal, sealIn(t, line), text)
		},
		"signed for something else": func(h *hall, line, text []byte) []byte {
			return signed(t, h.key, "x+jws", sealIn(t, line), text)
		},
		"another root": func(h *hall, line, text []byte) []byte {
			s := sealIn(t, line)
			s.Root[0] ^= 1
			return signed(t, h.key, typeSeal, s, text)
		},
		"not signed": func(_ *hall, _, text []byte) []byte { return text },
		"of an older form": func(*hall, []byte, []byte) []byte {
			return []byte(`{"format":1,"origin":"` + testOrigin + `","next":1}`)
		},
		"cut off": func(_ *hall, line, _ []byte) []byte { return line },
		"empty":   func(*hall, []byte, []byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHall(t)
			h.overreach()
			card := h.cards(1)[0]
			h.stop()
			line, text, _ := bytes.Cut(h.saved(), []byte("\n"))
			h.putBack(change(h, bytes.Clone(line), text))
			h.open()
			if _, err := h.eng.Card(card.ID); err != nil {
				t.Errorf("the card is hidden: %v", err)
			}
			h.until("a card about the snapshot", func() bool { return len(h.eng.Cards(Filter{Rule: "LC-10", Level: Red})) == 1 })
			if n := h.alarms(); n != 1 {
				t.Errorf("%d alarms in the log, want 1", n)
			}
		})
	}
}

func sealIn(t *testing.T, line []byte) (s seal) {
	t.Helper()
	payload, err := jose.Unverified(string(line))
	if err == nil {
		err = json.Unmarshal(payload, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheSnapshotOfAnotherLogIsNotUsed(t *testing.T) {
	h := newHall(t)
	for range 3 {
		h.overreach()
	}
	h.cards(3)
	h.stop()
	// The same name, the same key, another story.
	if err := os.RemoveAll(filepath.Join(h.dir, "log")); err != nil {
		t.Fatal(err)
	}
	h.open()
	h.until("a card about the snapshot", func() bool { return len(h.eng.Cards(Filter{Rule: "LC-10"})) == 1 })
	if list := h.eng.Cards(Filter{}); len(list) != 1 {
		t.Errorf("%d cards, of which the log knows one", len(list))
	}
	h.stop()
	h.from("later", "gw/audit/2029q1", nil) // and one of a log that is not here at all
	h.until("a card about the snapshot", func() bool { return len(h.eng.Cards(Filter{Rule: "LC-10"})) == 1 })
}

// TestAnOlderSnapshotIsAsGoodAsTheLast: what was decided since is in the log.
func TestAnOlderSnapshotIsAsGoodAsTheLast(t *testing.T) {
	h := newHall(t)
	h.overreach()
	first := h.cards(1)[0]
	h.stop()
	old := h.saved()
	h.open()
	if _, err := h.eng.Settle(t.Context(), first.ID, "sup", Confirmed, ""); err != nil {
		t.Fatal(err)
	}
	h.overreach()
	h.cards(2)
	want := h.known()
	h.stop()
	h.putBack(old)
	h.open()
	if got := h.known(); got != want {
		t.Errorf("from the older snapshot:\n%s\nwas\n%s", got, want)
	}
	if n := h.alarms(); n != 0 {
		t.Errorf("%d alarms about a snapshot of this log", n)
	}
	h.stop()
	if err := os.Remove(h.snapshotFile()); err != nil {
		t.Fatal(err)
	}
	h.open()
	if got := h.known(); got != want {
		t.Errorf("without a snapshot:\n%s\nwas\n%s", got, want)
	}
	if n := h.alarms(); n != 0 {
		t.Errorf("%d alarms about a snapshot that was deleted", n)
	}
}

// known is what the engine tells of cards.
func (h *hall) known() string {
	h.t.Helper()
	raw, err := json.Marshal(h.eng.Cards(Filter{}))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(raw)
}
