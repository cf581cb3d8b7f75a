package assembly

import (
	"errors"
	"time"
)

// End is a moment of a configuration after which something no longer holds; zero if
// there is none. What is no time is refused: the YAML package would make it zero,
// so that it never ended.
type End struct{ time.Time }

// UnmarshalYAML reads an RFC 3339 time, or a day for its beginning in UTC.
func (e *End) UnmarshalYAML(unmarshal func(any) error) error {
	if err := unmarshal(&e.Time); err != nil || e.IsZero() {
		return errors.New("不是时间，例如 2026-10-01T00:00:00+08:00 / not a time, for example 2026-10-01T00:00:00+08:00")
	}
	return nil
}
