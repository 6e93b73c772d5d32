package node

import (
	"context"
	"fmt"
	"io"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/types"
)

func (t *town) openValidator() error { return nil }

func (t *town) openGateway() error { return nil }

func (t *town) gatewayAddr() string { return "" }

func (t *town) logsDir(types.Epoch) string { return "" }

func (n *Node) verifyEpoch(context.Context, api.EpochRequest, *api.Out) (*api.EpochVerifyResult, error) {
	return nil, fmt.Errorf("verify: %w", ErrNotYet)
}

func (n *Node) writeLog(context.Context, api.LogRequest, io.Writer) error {
	return fmt.Errorf("log: %w", ErrNotYet)
}
