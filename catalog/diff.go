package catalog

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"yizheng/identity/jose"
)

// Diff lists in words what changes from a to b, in order of place: one line
// for an entry added or removed as a whole, one for each value changed. No
// line: the two say the same.
func Diff(a, b *Catalogue) []string {
	before, after := flatten(a), flatten(b)
	var lines []string
	for path, old := range before {
		if now, ok := after[path]; !ok && !missing(after, path, before) {
			lines = append(lines, fmt.Sprintf("%s：删除 / removed (%s)", path, old))
		} else if ok && now != old {
			lines = append(lines, fmt.Sprintf("%s：%s → %s", path, old, now))
		}
	}
	for path, now := range after {
		if _, ok := before[path]; !ok && !missing(before, path, after) {
			lines = append(lines, fmt.Sprintf("%s：新增 / added (%s)", path, now))
		}
	}
	sort.Strings(lines)
	return lines
}

// missing reports whether something around path, itself listed in has, is
// already missing in values, so that path needs no line of its own.
func missing(values map[string]string, path string, has map[string]string) bool {
	for {
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return false
		}
		path = path[:cut]
		_, there := values[path]
		if _, entry := has[path]; entry && !there {
			return true
		}
	}
}

// flatten maps every leaf's path to its value, and every identified entry's
// path to its name.
func flatten(c *Catalogue) map[string]string {
	out := map[string]string{}
	for name, part := range map[string]any{"": c, "grants": c.Grants} {
		text, err := marshal(part)
		if err != nil {
			continue // a catalogue that was loaded has a JSON form
		}
		var v any
		if json.Unmarshal(text, &v) == nil {
			flattenValue(out, name, v)
		}
	}
	return out
}

func flattenValue(out map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			flattenValue(out, join(path, key), value)
		}
	case []any:
		flattenList(out, path, v)
	case nil:
	default:
		out[path] = shown(v)
	}
}

func flattenList(out map[string]string, path string, list []any) {
	var plain []string
	for i, v := range list {
		entry, ok := v.(map[string]any)
		if !ok {
			plain = append(plain, shown(v))
			continue
		}
		id := fmt.Sprint(i)
		for _, key := range []string{"id", "code", "name"} {
			if s, ok := entry[key].(string); ok {
				id = s
				break
			}
		}
		at := path + "[" + id + "]"
		out[at] = id
		for _, key := range []string{"name", "text", "label"} {
			if s, ok := entry[key].(string); ok {
				out[at] = s
			}
		}
		flattenValue(out, at, entry)
		if out[at] == id {
			continue
		}
		delete(out, at+".name") // the entry's own line shows it
	}
	if plain != nil {
		out[path] = strings.Join(plain, ", ")
	}
}

// shown is a value in one line: a key by its id, a long text by its beginning.
func shown(v any) string {
	s, ok := v.(string)
	if !ok {
		text, err := marshal(v)
		if err != nil {
			return "?"
		}
		s = string(text)
	}
	if pub := publicKey(s); pub != nil {
		return "SM2 " + jose.KeyID(pub)
	}
	if s == "" {
		return "（空 / empty）"
	}
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}
