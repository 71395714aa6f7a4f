package server

import (
	"context"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// carryOut runs the handler of a call's service and returns its reply.
func (a *api) carryOut(ctx context.Context, call *cartwheelv1.PipelinedCall) *cartwheelv1.PipelinedReply {
	switch c := call.GetCall().(type) {
	case *cartwheelv1.PipelinedCall_SetAdd:
		return handled(ctx, call, setService{a}, c.SetAdd, setService.Add, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.SetServiceAddResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_SetAdd{SetAdd: m}
		})
	case *cartwheelv1.PipelinedCall_SetRemove:
		return handled(ctx, call, setService{a}, c.SetRemove, setService.Remove, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.SetServiceRemoveResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_SetRemove{SetRemove: m}
		})
	case *cartwheelv1.PipelinedCall_SetUpdate:
		return handled(ctx, call, setService{a}, c.SetUpdate, setService.Update, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.SetServiceUpdateResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_SetUpdate{SetUpdate: m}
		})
	case *cartwheelv1.PipelinedCall_SetContains:
		return handled(ctx, call, setService{a}, c.SetContains, setService.Contains, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.SetServiceContainsResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_SetContains{SetContains: m}
		})
	case *cartwheelv1.PipelinedCall_SetSize:
		return handled(ctx, call, setService{a}, c.SetSize, setService.Size, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.SetServiceSizeResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_SetSize{SetSize: m}
		})
	case *cartwheelv1.PipelinedCall_SetMembers:
		return handled(ctx, call, setService{a}, c.SetMembers, setService.Members, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.SetServiceMembersResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_SetMembers{SetMembers: m}
		})
	case *cartwheelv1.PipelinedCall_SetClear:
		return handled(ctx, call, setService{a}, c.SetClear, setService.Clear, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.SetServiceClearResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_SetClear{SetClear: m}
		})
	case *cartwheelv1.PipelinedCall_CounterAdd:
		return handled(ctx, call, counterService{a}, c.CounterAdd, counterService.Add, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.CounterServiceAddResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_CounterAdd{CounterAdd: m}
		})
	case *cartwheelv1.PipelinedCall_CounterGet:
		return handled(ctx, call, counterService{a}, c.CounterGet, counterService.Get, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.CounterServiceGetResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_CounterGet{CounterGet: m}
		})
	case *cartwheelv1.PipelinedCall_CounterReset:
		return handled(ctx, call, counterService{a}, c.CounterReset, counterService.Reset, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.CounterServiceResetResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_CounterReset{CounterReset: m}
		})
	case *cartwheelv1.PipelinedCall_RegisterSet:
		return handled(ctx, call, registerService{a}, c.RegisterSet, registerService.Set, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.RegisterServiceSetResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_RegisterSet{RegisterSet: m}
		})
	case *cartwheelv1.PipelinedCall_RegisterGet:
		return handled(ctx, call, registerService{a}, c.RegisterGet, registerService.Get, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.RegisterServiceGetResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_RegisterGet{RegisterGet: m}
		})
	case *cartwheelv1.PipelinedCall_RegisterDelete:
		return handled(ctx, call, registerService{a}, c.RegisterDelete, registerService.Delete, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.RegisterServiceDeleteResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_RegisterDelete{RegisterDelete: m}
		})
	case *cartwheelv1.PipelinedCall_BlobPut:
		return handled(ctx, call, blobService{a}, c.BlobPut, blobService.Put, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.BlobServicePutResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_BlobPut{BlobPut: m}
		})
	case *cartwheelv1.PipelinedCall_BlobGet:
		return handled(ctx, call, blobService{a}, c.BlobGet, blobService.Get, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.BlobServiceGetResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_BlobGet{BlobGet: m}
		})
	case *cartwheelv1.PipelinedCall_BlobDelete:
		return handled(ctx, call, blobService{a}, c.BlobDelete, blobService.Delete, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.BlobServiceDeleteResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_BlobDelete{BlobDelete: m}
		})
	case *cartwheelv1.PipelinedCall_MapUpdate:
		return handled(ctx, call, mapService{a}, c.MapUpdate, mapService.Update, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.MapServiceUpdateResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_MapUpdate{MapUpdate: m}
		})
	case *cartwheelv1.PipelinedCall_MapGet:
		return handled(ctx, call, mapService{a}, c.MapGet, mapService.Get, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.MapServiceGetResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_MapGet{MapGet: m}
		})
	case *cartwheelv1.PipelinedCall_MapDelete:
		return handled(ctx, call, mapService{a}, c.MapDelete, mapService.Delete, func(to *cartwheelv1.PipelinedReply, m *cartwheelv1.MapServiceDeleteResponse) {
			to.Reply = &cartwheelv1.PipelinedReply_MapDelete{MapDelete: m}
		})
	default:
		return failed(call, invalidOption(0, 0, "call %d names no operation that this node knows", call.GetId()))
	}
}

// handled carries the message of a call through a handler, as Connect does.
func handled[S, Req, Res any](
	ctx context.Context, call *cartwheelv1.PipelinedCall, service S, m *Req,
	handle func(S, context.Context, *connect.Request[Req]) (*connect.Response[Res], error),
	put func(*cartwheelv1.PipelinedReply, *Res),
) *cartwheelv1.PipelinedReply {
	reply := &cartwheelv1.PipelinedReply{Id: call.GetId()}
	res, err := handle(service, ctx, connect.NewRequest(m))
	if err != nil {
		reply.Reply = &cartwheelv1.PipelinedReply_Failure{Failure: failureOf(err)}
	} else {
		put(reply, res.Msg)
	}
	return reply
}
