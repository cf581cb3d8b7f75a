package web

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"

	"github.com/goccy/go-yaml"
)

//go:embed openapi.yaml
var openAPIYAML []byte

// openAPI is the API's description as JSON.
func openAPI() ([]byte, error) {
	b, err := yaml.YAMLToJSON(openAPIYAML)
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	return b, nil
}

func (s *Server) openAPIDocument(context.Context, *request) (reply, error) {
	return reply{status: http.StatusOK, contentType: "application/json; charset=utf-8", body: s.openapi}, nil
}
