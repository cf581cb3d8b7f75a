package ship

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// HTTPS posts batches as application/x-ndjson, one record a line. Any 2xx means
// that all of them are kept. The headers Yizheng-Origin, Yizheng-First and
// Yizheng-Count let a receiver drop what it has already.
type HTTPS struct {
	url    string
	client *http.Client
}

// NewHTTPS prepares posting to an https URL.
func NewHTTPS(to string, f Files) (*HTTPS, error) {
	c, err := f.config()
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(to); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("audit ship: %q is no https URL without a password", to)
	}
	return &HTTPS{url: to, client: &http.Client{
		Transport:     &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true, MaxIdleConns: 1},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Send posts one batch.
func (h *HTTPS) Send(ctx context.Context, records []Record) error {
	var body bytes.Buffer
	for _, r := range records {
		body.Write(r.JSON)
		body.WriteByte('\n')
	}
	return h.post(ctx, "application/x-ndjson", &body, records)
}

// post sends a body about these records.
func (h *HTTPS) post(ctx context.Context, contentType string, body io.Reader, records []Record) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, body)
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Yizheng-Origin", records[0].Origin)
	req.Header.Set("Yizheng-First", strconv.FormatUint(records[0].Index, 10))
	req.Header.Set("Yizheng-Count", strconv.Itoa(len(records)))
	res, err := h.client.Do(req)
	if err != nil {
		return err // names the method and the URL
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20)); err != nil {
		return fmt.Errorf("post %s: %w", h.url, err)
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("post %s: %s", h.url, res.Status)
	}
	return nil
}

// Close lets idle connections go.
func (h *HTTPS) Close() error {
	h.client.CloseIdleConnections()
	return nil
}
