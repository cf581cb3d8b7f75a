package search

import (
	"encoding/json"
	"errors"
	"fmt"

	"yizheng/identity/jose"
)

// ErrRosterOlder is returned for a roster that was put back.
var ErrRosterOlder = errors.New("名册被换成了旧的 / an older roster was put in the place of a newer one")

// Seen remembers the newest roster that was used. The zero value is none.
type Seen struct {
	Number uint64 `json:"number"`
	Digest string `json:"digest"` // b64url of SM3 over the roster's JSON
}

// Seen is what to remember of a roster.
func (r Roster) Seen() (Seen, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return Seen{}, fmt.Errorf("roster: %w", err)
	}
	return Seen{r.Number, jose.Digest(string(text))}, nil
}

// Allows holds a roster against the newest that was used: a lower number, from
// which logs may be missing that have to be asked, is refused, and so is another
// roster under the same number. Errors wrap ErrRosterOlder.
func (s Seen) Allows(r Roster) error {
	now, err := r.Seen()
	switch {
	case err != nil:
		return err
	case now.Number < s.Number:
		return fmt.Errorf("%w：编号 %d，已用过 %d，请取回最新的名册 / number %d, but %d was used already; bring the newest one", ErrRosterOlder, now.Number, s.Number, now.Number, s.Number)
	case now.Number == s.Number && now.Digest != s.Digest:
		return fmt.Errorf("%w：编号 %d 的名册已用过，内容与此不同；改动后编号须加一 / another roster has number %d; a change needs the next number", ErrRosterOlder, now.Number, now.Number)
	}
	return nil
}
