package pseudod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"yizheng/audit"
	"yizheng/audit/search"
)

// Client asks a pseudonym service. It implements search.Pseudonyms and may be
// used by many goroutines.
type Client struct {
	http *http.Client
}

// ErrUnavailable is returned when the service does not answer, or not usably.
var ErrUnavailable = errors.New("pseudonym service not available (假名服务不可用)")

// NewClient asks the service at a socket. Nothing is asked yet.
func NewClient(socket string) *Client {
	t := &http.Transport{MaxIdleConns: maxAtOnce, MaxIdleConnsPerHost: maxAtOnce, MaxConnsPerHost: maxAtOnce, IdleConnTimeout: time.Minute,
		DisableCompression: true, MaxResponseHeaderBytes: 16 << 10,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}}
	return &Client{&http.Client{Transport: t, Timeout: callLife}}
}

// Close lets go of idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Check tells whether the service answers this process.
func (c *Client) Check() error {
	_, err := c.Of(audit.SubjectPhone, "", time.Now())
	if errors.Is(err, audit.ErrNumber) {
		return nil
	}
	return errors.Join(ErrUnavailable, err)
}

// Of implements audit.SubjectNamer.
func (c *Client) Of(idType, number string, at time.Time) (audit.SubjectRef, error) {
	ref, err := call[audit.SubjectRef](context.Background(), c, pathOf, ofCall{idType, number, at})
	if err == nil && (ref.P == "" || ref.Type == "" || audit.EpochQuarter(ref.Epoch) != audit.Quarter(at)) {
		return audit.SubjectRef{}, fmt.Errorf("%w: answered about something else", ErrUnavailable)
	}
	return ref, err
}

// Own implements search.Pseudonyms.
func (c *Client) Own(ctx context.Context, idType, number string, quarters []time.Time) (audit.Known, error) {
	return call[audit.Known](ctx, c, pathOwn, ownCall{idType, number, quarters})
}

// Hold implements search.Pseudonyms.
func (c *Client) Hold(ctx context.Context, sought search.Sought) (search.Held, error) {
	return call[search.Held](ctx, c, pathHold, sought)
}

// Steps implements search.Pseudonyms.
func (c *Client) Steps(ctx context.Context) ([]audit.KeyStep, error) {
	return call[[]audit.KeyStep](ctx, c, pathSteps, struct{}{})
}

// Release implements search.Pseudonyms.
func (c *Client) Release(ctx context.Context, application string, decisions []string) ([]audit.SubjectRef, error) {
	return call[[]audit.SubjectRef](ctx, c, pathRelease, releaseCall{application, decisions})
}

// call asks once. Its errors hold nothing of the question.
func call[Out any](ctx context.Context, c *Client, path string, in any) (out Out, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("%w: %T cannot be written", ErrUnavailable, in)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://pseudod"+path, bytes.NewReader(body))
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if path != pathRelease { // may be asked again, on a fresh connection, when the service was started anew
		req.Header["Idempotency-Key"] = []string{}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(answer, &out); err != nil {
			return out, fmt.Errorf("%w: its answer cannot be read", ErrUnavailable)
		}
		return out, nil
	}
	return out, said(resp.StatusCode, answer)
}

// said is the error that a refusal stands for.
func said(status int, answer []byte) error {
	var r refusal
	if json.Unmarshal(answer, &r) != nil || r.Code == "" {
		return fmt.Errorf("%w: status %d", ErrUnavailable, status)
	}
	switch r.Code {
	case codeNumber:
		return audit.ErrNumber
	case codeGone:
		return audit.ErrKeysDestroyed
	case codeStep:
		return audit.ErrKeyStepUnproven
	case codeBusy, codeInternal, codeRequest, codeQuarter:
		return fmt.Errorf("%w: %s", ErrUnavailable, r.Code)
	}
	return &search.Refusal{Status: status, Code: r.Code, Where: r.Where, Chinese: r.Chinese, English: r.English}
}
