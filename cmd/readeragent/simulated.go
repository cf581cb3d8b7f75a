package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/emmansun/gmsm/sm3"
	"github.com/goccy/go-yaml"

	"yizheng/identity"
)

// chip is what a reader gets out of a card.
type chip struct {
	text [identity.CardTextSize]byte
	uid  []byte
}

// simulatedReader stands in for a card reader. Like a real one it delivers the
// 256-byte text, and reads a card once for each time it is laid down.
type simulatedReader struct {
	cards map[string]chip // by sample person

	mu   sync.Mutex
	on   string        // card on the reader, or ""
	laid chan struct{} // closed when an unread card is laid down
}

// sample is one person of the sample file.
type sample struct {
	ID          string          `yaml:"id"`
	Layout      identity.Layout `yaml:"layout"`
	Card        *bool           `yaml:"card"` // false: the person has none
	Name        string          `yaml:"name"`
	EnglishName string          `yaml:"english_name"`
	EnglishMore string          `yaml:"english_more"`
	Sex         string          `yaml:"sex"`
	Nation      string          `yaml:"nation"`
	Birth       string          `yaml:"birth"`
	Address     string          `yaml:"address"`
	Number      string          `yaml:"number"`
	Issuer      string          `yaml:"issuer"`
	ValidFrom   string          `yaml:"valid_from"`
	ValidTo     string          `yaml:"valid_to"`
	Permit      string          `yaml:"permit"`
	Issues      string          `yaml:"issues"`
	Nationality string          `yaml:"nationality"`
	Version     string          `yaml:"version"`
	PastLink    string          `yaml:"past_link"`
}

func (s sample) text() identity.CardText {
	return identity.CardText{
		Layout: s.Layout, Name: s.Name, EnglishName: s.EnglishName, EnglishMore: s.EnglishMore, Sex: s.Sex,
		Nation: s.Nation, Birth: s.Birth, Address: s.Address, Number: s.Number, Issuer: s.Issuer,
		ValidFrom: s.ValidFrom, ValidTo: s.ValidTo, Permit: s.Permit, Issues: s.Issues,
		Nationality: s.Nationality, Version: s.Version, PastLink: s.PastLink,
	}
}

// newSimulatedReader makes cards of the people in a sample file. The file's
// other top-level keys belong to other simulators.
func newSimulatedReader(path string) (*simulatedReader, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("sample cards: %w", err)
	}
	var people []sample
	list, err := yaml.PathString("$.people")
	if err != nil {
		return nil, fmt.Errorf("sample cards: %w", err)
	}
	node, err := list.ReadNode(strings.NewReader(string(raw)))
	if err != nil {
		return nil, yamlError(path, err)
	}
	if err := yaml.NodeToValue(node, &people, yaml.Strict()); err != nil {
		return nil, yamlError(path, err)
	}
	r := &simulatedReader{cards: make(map[string]chip), laid: make(chan struct{})}
	for _, p := range people {
		if p.Card != nil && !*p.Card {
			continue
		}
		text, err := p.text().Encode()
		if err != nil {
			return nil, fmt.Errorf("sample card %q in %s: %w", p.ID, path, err)
		}
		if _, twice := r.cards[p.ID]; twice || p.ID == "" {
			return nil, fmt.Errorf("sample card %q in %s: id is empty or used twice", p.ID, path)
		}
		uid := sm3.Sum([]byte("simulated chip " + p.ID))
		r.cards[p.ID] = chip{text: text, uid: uid[:8]}
	}
	return r, nil
}

// put lays a card on the reader.
func (r *simulatedReader) put(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.cards[id]; !known {
		return errors.New("no such card / 没有这张样例证件")
	}
	if r.on != "" {
		return errors.New("remove the other card first / 请先移开读卡器上的证件")
	}
	r.on = id
	close(r.laid)
	return nil
}

// remove takes the card away.
func (r *simulatedReader) remove() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = ""
	select {
	case <-r.laid:
		r.laid = make(chan struct{})
	default: // it had been read
	}
}

// read waits for a card that has not been read since it was laid down. It
// returns the context's error if there is none.
func (r *simulatedReader) read(ctx context.Context) (chip, error) {
	for {
		r.mu.Lock()
		laid := r.laid
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return chip{}, ctx.Err()
		case <-laid:
		}
		if c, ok := r.take(); ok {
			return c, nil
		}
	}
}

// take reads the card, unless it was removed or read meanwhile.
func (r *simulatedReader) take() (chip, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.laid:
		r.laid = make(chan struct{})
		return r.cards[r.on], true
	default:
		return chip{}, false
	}
}

// commands are what the reader can be told; each takes the rest of its line.
func (r *simulatedReader) commands() map[string]func(card string) error {
	return map[string]func(string) error{
		"put":    r.put,
		"remove": func(string) error { r.remove(); return nil },
	}
}

// obey carries out commands, one a line, until the input ends.
func (r *simulatedReader) obey(typed io.Reader, tell func(event)) {
	commands := r.commands()
	lines := bufio.NewScanner(typed)
	for lines.Scan() {
		verb, id, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if verb == "" {
			continue
		}
		err := errors.New(`unknown command, want "put CARD" or "remove" / 未知命令`)
		if do := commands[verb]; do != nil {
			err = do(strings.TrimSpace(id))
		}
		if err != nil {
			tell(event{Event: "error", Message: err.Error()})
		}
	}
}
