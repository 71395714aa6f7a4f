package cartwheel

import (
	"context"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
)

// The services of an endpoint by way of its pipe. Whoever calls them cannot tell,
// but by what it costs.

type pipedSet struct {
	cartwheelv1connect.SetServiceClient
	pipe pipe
}

func (s pipedSet) Add(ctx context.Context, r *connect.Request[cartwheelv1.SetServiceAddRequest]) (*connect.Response[cartwheelv1.SetServiceAddResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_SetAdd{SetAdd: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.SetServiceClient.Add, (*cartwheelv1.PipelinedReply).GetSetAdd)
}

func (s pipedSet) Remove(ctx context.Context, r *connect.Request[cartwheelv1.SetServiceRemoveRequest]) (*connect.Response[cartwheelv1.SetServiceRemoveResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_SetRemove{SetRemove: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.SetServiceClient.Remove, (*cartwheelv1.PipelinedReply).GetSetRemove)
}

func (s pipedSet) Update(ctx context.Context, r *connect.Request[cartwheelv1.SetServiceUpdateRequest]) (*connect.Response[cartwheelv1.SetServiceUpdateResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_SetUpdate{SetUpdate: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.SetServiceClient.Update, (*cartwheelv1.PipelinedReply).GetSetUpdate)
}

func (s pipedSet) Contains(ctx context.Context, r *connect.Request[cartwheelv1.SetServiceContainsRequest]) (*connect.Response[cartwheelv1.SetServiceContainsResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_SetContains{SetContains: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.SetServiceClient.Contains, (*cartwheelv1.PipelinedReply).GetSetContains)
}

func (s pipedSet) Size(ctx context.Context, r *connect.Request[cartwheelv1.SetServiceSizeRequest]) (*connect.Response[cartwheelv1.SetServiceSizeResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_SetSize{SetSize: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.SetServiceClient.Size, (*cartwheelv1.PipelinedReply).GetSetSize)
}

func (s pipedSet) Members(ctx context.Context, r *connect.Request[cartwheelv1.SetServiceMembersRequest]) (*connect.Response[cartwheelv1.SetServiceMembersResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_SetMembers{SetMembers: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.SetServiceClient.Members, (*cartwheelv1.PipelinedReply).GetSetMembers)
}

func (s pipedSet) Clear(ctx context.Context, r *connect.Request[cartwheelv1.SetServiceClearRequest]) (*connect.Response[cartwheelv1.SetServiceClearResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_SetClear{SetClear: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.SetServiceClient.Clear, (*cartwheelv1.PipelinedReply).GetSetClear)
}

type pipedCounter struct {
	cartwheelv1connect.CounterServiceClient
	pipe pipe
}

func (s pipedCounter) Add(ctx context.Context, r *connect.Request[cartwheelv1.CounterServiceAddRequest]) (*connect.Response[cartwheelv1.CounterServiceAddResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_CounterAdd{CounterAdd: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.CounterServiceClient.Add, (*cartwheelv1.PipelinedReply).GetCounterAdd)
}

func (s pipedCounter) Get(ctx context.Context, r *connect.Request[cartwheelv1.CounterServiceGetRequest]) (*connect.Response[cartwheelv1.CounterServiceGetResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_CounterGet{CounterGet: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.CounterServiceClient.Get, (*cartwheelv1.PipelinedReply).GetCounterGet)
}

func (s pipedCounter) Reset(ctx context.Context, r *connect.Request[cartwheelv1.CounterServiceResetRequest]) (*connect.Response[cartwheelv1.CounterServiceResetResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_CounterReset{CounterReset: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.CounterServiceClient.Reset, (*cartwheelv1.PipelinedReply).GetCounterReset)
}

type pipedRegister struct {
	cartwheelv1connect.RegisterServiceClient
	pipe pipe
}

func (s pipedRegister) Set(ctx context.Context, r *connect.Request[cartwheelv1.RegisterServiceSetRequest]) (*connect.Response[cartwheelv1.RegisterServiceSetResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_RegisterSet{RegisterSet: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.RegisterServiceClient.Set, (*cartwheelv1.PipelinedReply).GetRegisterSet)
}

func (s pipedRegister) Get(ctx context.Context, r *connect.Request[cartwheelv1.RegisterServiceGetRequest]) (*connect.Response[cartwheelv1.RegisterServiceGetResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_RegisterGet{RegisterGet: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.RegisterServiceClient.Get, (*cartwheelv1.PipelinedReply).GetRegisterGet)
}

func (s pipedRegister) Delete(ctx context.Context, r *connect.Request[cartwheelv1.RegisterServiceDeleteRequest]) (*connect.Response[cartwheelv1.RegisterServiceDeleteResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_RegisterDelete{RegisterDelete: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.RegisterServiceClient.Delete, (*cartwheelv1.PipelinedReply).GetRegisterDelete)
}

type pipedBlob struct {
	cartwheelv1connect.BlobServiceClient
	pipe pipe
}

func (s pipedBlob) Put(ctx context.Context, r *connect.Request[cartwheelv1.BlobServicePutRequest]) (*connect.Response[cartwheelv1.BlobServicePutResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_BlobPut{BlobPut: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.BlobServiceClient.Put, (*cartwheelv1.PipelinedReply).GetBlobPut)
}

func (s pipedBlob) Get(ctx context.Context, r *connect.Request[cartwheelv1.BlobServiceGetRequest]) (*connect.Response[cartwheelv1.BlobServiceGetResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_BlobGet{BlobGet: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.BlobServiceClient.Get, (*cartwheelv1.PipelinedReply).GetBlobGet)
}

func (s pipedBlob) Delete(ctx context.Context, r *connect.Request[cartwheelv1.BlobServiceDeleteRequest]) (*connect.Response[cartwheelv1.BlobServiceDeleteResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_BlobDelete{BlobDelete: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.BlobServiceClient.Delete, (*cartwheelv1.PipelinedReply).GetBlobDelete)
}

type pipedMap struct {
	cartwheelv1connect.MapServiceClient
	pipe pipe
}

func (s pipedMap) Update(ctx context.Context, r *connect.Request[cartwheelv1.MapServiceUpdateRequest]) (*connect.Response[cartwheelv1.MapServiceUpdateResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_MapUpdate{MapUpdate: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.MapServiceClient.Update, (*cartwheelv1.PipelinedReply).GetMapUpdate)
}

func (s pipedMap) Get(ctx context.Context, r *connect.Request[cartwheelv1.MapServiceGetRequest]) (*connect.Response[cartwheelv1.MapServiceGetResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_MapGet{MapGet: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.MapServiceClient.Get, (*cartwheelv1.PipelinedReply).GetMapGet)
}

func (s pipedMap) Delete(ctx context.Context, r *connect.Request[cartwheelv1.MapServiceDeleteRequest]) (*connect.Response[cartwheelv1.MapServiceDeleteResponse], error) {
	call := &cartwheelv1.PipelinedCall{Call: &cartwheelv1.PipelinedCall_MapDelete{MapDelete: r.Msg}}
	return piped(ctx, s.pipe, r, call, s.MapServiceClient.Delete, (*cartwheelv1.PipelinedReply).GetMapDelete)
}
