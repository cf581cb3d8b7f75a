package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// maxLine is the longest line of an event stream, in bytes.
const maxLine = 64 << 10

// message is one server-sent event.
type message struct{ name, data string }

// readStream passes on the events of a text/event-stream until it ends or
// handle returns an error. alive is called for every line, comments too.
// Members id and retry are not used here.
func readStream(r io.Reader, alive func(), handle func(message) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	var m message
	for lines.Scan() {
		alive()
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" {
			if m.data != "" {
				if err := handle(m); err != nil {
					return err
				}
			}
			m = message{}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			m.name = value
		case "data":
			if m.data != "" {
				m.data += "\n"
			}
			if m.data += value; len(m.data) > maxLine {
				return fmt.Errorf("event stream: event larger than %d bytes", maxLine)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("event stream: %w", err)
	}
	return io.EOF
}
