package replica

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"yizheng/audit"
)

// Client is a replica on another machine. Its errors wrap those that the
// replica's have wrapped, as far as their status tells.
type Client struct {
	URL  string // https://replica.example.gov.cn:8447
	HTTP *http.Client
}

// Begin is audit.Replica's.
func (c Client) Begin(ctx context.Context, meta []byte) (uint64, error) {
	return c.size(c.post(ctx, "/begin", nil, meta))
}

// Write is audit.Replica's.
func (c Client) Write(ctx context.Context, s audit.Stretch) (uint64, error) {
	return c.size(c.post(ctx, "/frames", url.Values{"origin": {s.Origin}, "segment": {s.Segment}, "offset": {strconv.FormatInt(s.Offset, 10)}}, s.Frames))
}

// Keep is audit.Replica's.
func (c Client) Keep(ctx context.Context, origin, name string, content []byte) error {
	_, err := c.post(ctx, "/quarantine", url.Values{"origin": {origin}, "name": {name}}, content)
	return err
}

func (c Client) size(answer string, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(answer, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("audit replica: answer is no number of entries")
	}
	return n, nil
}

func (c Client) post(ctx context.Context, path string, query url.Values, content []byte) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+path+"?"+query.Encode(), bytes.NewReader(content))
	if err != nil {
		return "", fmt.Errorf("audit replica: %w", err)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return "", fmt.Errorf("audit replica: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return "", fmt.Errorf("audit replica: %w", err)
	}
	text := strings.TrimSpace(string(answer))
	if resp.StatusCode == http.StatusOK {
		return text, nil
	}
	for _, k := range statuses() {
		if k.status == resp.StatusCode {
			return "", fmt.Errorf("audit replica: %w: status %d: %s", k.err, resp.StatusCode, text)
		}
	}
	return "", fmt.Errorf("audit replica: status %d: %s", resp.StatusCode, text)
}
