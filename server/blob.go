package server

import (
	"context"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
	"github.com/cartwheel-db/cartwheel/replica"
	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// blobService answers for blobs.
type blobService struct{ *api }

// Get shows one value per put. The context covers every live dot, those of a
// put that two coordinators applied included.
func (s blobService) Get(ctx context.Context, req *connect.Request[cartwheelv1.BlobServiceGetRequest]) (*connect.Response[cartwheelv1.BlobServiceGetResponse], error) {
	m := req.Msg
	c, err := s.call("blob.get", crdt.Blob, m.GetBucket(), m.GetKey())
	if err != nil {
		return nil, err
	}
	row, p := c.row(ctx, m.GetOptions())
	if p != nil {
		return nil, c.error(p)
	}
	siblings, err := row.Siblings()
	if err != nil {
		return nil, c.error(damaged(err))
	}
	var shown dvv.Clock
	addDots(&shown, row)
	res := &cartwheelv1.BlobServiceGetResponse{Info: c.info}
	if res.Context, p = c.seal(shown); p != nil {
		return nil, c.error(p)
	}
	for i, sibling := range siblings {
		if res.Siblings = append(res.Siblings, sibling.Value); sibling.Expires != 0 && res.ExpiresAtMs == nil {
			res.ExpiresAtMs = make([]uint64, len(siblings))
		}
		if res.ExpiresAtMs != nil {
			res.ExpiresAtMs[i] = uint64(sibling.Expires)
		}
	}
	return connect.NewResponse(res), nil
}

func (s blobService) Put(ctx context.Context, req *connect.Request[cartwheelv1.BlobServicePutRequest]) (*connect.Response[cartwheelv1.BlobServicePutResponse], error) {
	c, token, err := s.write(ctx, "blob.put", crdt.Blob, replica.Put, req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&cartwheelv1.BlobServicePutResponse{Info: c.info, Context: token}), nil
}

func (s blobService) Delete(ctx context.Context, req *connect.Request[cartwheelv1.BlobServiceDeleteRequest]) (*connect.Response[cartwheelv1.BlobServiceDeleteResponse], error) {
	c, err := s.remove(ctx, "blob.delete", crdt.Blob, req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&cartwheelv1.BlobServiceDeleteResponse{Info: c.info}), nil
}
