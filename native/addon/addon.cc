// The functions that JavaScript sees. A context is an external value; tensors and weights are integers within it.
#include <memory>

#include "addon/instruction_sets.h"
#include "addon/map_file.h"
#include "addon/read_weight.h"
#include "addon/sampling_functions.h"
#include "addon/solver_functions.h"
#include "addon/values.h"
#include "ops/context.h"
#include "runtime/float_state.h"
#include "runtime/tiles_access.h"

namespace millrace {

namespace {

Context& contextOf(const Args& args) { return args.external<Context>(0); }

napi_value createContext(const Args& args) {
  const std::string isa = args.text(0);
  const InstructionSet* set = findInstructionSet(isa);
  check(set != nullptr && set->isUsable(), "this processor lacks the instruction set");
  const int64_t numThreads = args.integer(1);
  check(numThreads >= 1 && numThreads <= 1024, "the number of threads is not between 1 and 1024");
  auto context = std::make_unique<Context>(set->kernels(), static_cast<int>(numThreads), args.flag(2));
  napi_value result = nullptr;
  const auto destroy = [](napi_env, void* data, void*) { delete static_cast<Context*>(data); };
  Args::require(napi_create_external(args.env(), context.get(), destroy, nullptr, &result));
  context.release();
  return result;
}

napi_value close(const Args& args) {
  contextOf(args).close();
  return nullptr;
}

Form formOf(const Args& args, size_t index) {
  const int64_t form = args.integer(index);
  check(form >= 0 && form <= 3, "a form is not known");
  return static_cast<Form>(form);
}

/** (context, parts, form, paired) → [id, sizeBytes, description] */
napi_value packLinear(const Args& args) {
  uint32_t count = 0;
  Args::require(napi_get_array_length(args.env(), args.value(1), &count));
  std::vector<WeightPart> parts;
  for (uint32_t i = 0; i < count; ++i) {
    napi_value part = nullptr;
    Args::require(napi_get_element(args.env(), args.value(1), i, &part));
    parts.push_back(readPart(args, part));
  }
  Context& context = contextOf(args);
  const int64_t id = context.packLinear(parts, formOf(args, 2), args.flag(3));
  const PackedLinear& packed = context.weight(id);
  return makeArray(args.env(), {makeInteger(args.env(), id),
                                makeInteger(args.env(), static_cast<int64_t>(packed.sizeBytes)),
                                makeText(args.env(), packed.description())});
}

napi_value freeLinear(const Args& args) {
  contextOf(args).freeLinear(args.integer(1));
  return nullptr;
}

napi_value loadVector(const Args& args) {
  const Span<float> values = args.floats(1);
  return makeInteger(args.env(), contextOf(args).loadVector(values.data, values.length));
}

napi_value loadRope(const Args& args) {
  const Span<float> cos = args.floats(1);
  const Span<float> sin = args.floats(2, cos.length);
  return makeInteger(args.env(), contextOf(args).loadRope(cos.data, sin.data, cos.length, args.integer(3)));
}

/** (context, numLayers, numBlocks, blockSize, numKvHeads, headDim, dtype) → [id, sizeBytes] */
napi_value createKvCache(const Args& args) {
  KvLayer shape{};
  shape.numBlocks = args.integer(2);
  shape.blockSize = args.integer(3);
  shape.numKvHeads = args.integer(4);
  shape.headDim = args.integer(5);
  shape.dtype = static_cast<KvDtype>(args.integer(6));
  shape.tokenStride = roundUp(shape.blockSize, 16);
  shape.dimStride = roundUp(shape.headDim, 16);
  Context& context = contextOf(args);
  const int64_t id = context.createKvCache(args.integer(1), shape);
  const int64_t size = static_cast<int64_t>(context.cacheBytes(id));
  return makeArray(args.env(), {makeInteger(args.env(), id), makeInteger(args.env(), size)});
}

/** (context, cache, numBlocks) → [id, sizeBytes] */
napi_value createKvHost(const Args& args) {
  Context& context = contextOf(args);
  const int64_t id = context.createKvHost(args.integer(1), args.integer(2));
  const int64_t size = static_cast<int64_t>(context.hostBytes(id));
  return makeArray(args.env(), {makeInteger(args.env(), id), makeInteger(args.env(), size)});
}

/** (context, cache, host or -1, count, kinds, sources, targets, numTokens) */
napi_value moveKv(const Args& args) {
  const int64_t count = args.integer(3);
  const KvMoveColumns moves{count, args.bytes(4, count).data, args.ints(5, count).data, args.ints(6, count).data,
                            args.ints(7, count).data};
  contextOf(args).moveKv(args.integer(1), args.integer(2), moves);
  return nullptr;
}

/** (context, cache, blockA, blockB, numTokens) → boolean */
napi_value equalKv(const Args& args) {
  const bool equal = contextOf(args).equalKv(args.integer(1), args.integer(2), args.integer(3), args.integer(4));
  return makeFlag(args.env(), equal);
}

void copyInts(const Args& args, size_t index, int64_t count, std::vector<int32_t>& into) {
  const int32_t* from = args.ints(index, count).data;
  into.assign(from, from + count);
}

/** (context, numTokens, numSeqs, tokenIds, positions, slots, queryStarts, contextLengths, blockTables, stride) */
napi_value beginStep(const Args& args) {
  Context& context = contextOf(args);
  Batch batch = std::move(context.batch());
  batch.numTokens = args.integer(1);
  batch.numSeqs = args.integer(2);
  batch.blockTableStride = args.integer(9);
  copyInts(args, 3, batch.numTokens, batch.tokenIds);
  copyInts(args, 4, batch.numTokens, batch.positions);
  copyInts(args, 5, batch.numTokens, batch.slots);
  copyInts(args, 6, batch.numSeqs + 1, batch.queryStarts);
  copyInts(args, 7, batch.numSeqs, batch.contextLengths);
  copyInts(args, 8, batch.numSeqs * batch.blockTableStride, batch.blockTables);
  context.beginStep(std::move(batch));
  return nullptr;
}

napi_value endStep(const Args& args) {
  contextOf(args).endStep();
  return nullptr;
}

/** (context, table, ids or null for the batch's token ids) */
napi_value embed(const Args& args) {
  Context& context = contextOf(args);
  const int32_t* ids = args.isNull(2) ? nullptr : args.ints(2, context.batch().numTokens).data;
  return makeInteger(args.env(), context.embed(args.integer(1), ids));
}

/** (context, x, weight, eps, form) */
napi_value rmsNorm(const Args& args) {
  const int64_t out = contextOf(args).rmsNorm(args.integer(1), args.integer(2), args.number(3), formOf(args, 4));
  return makeInteger(args.env(), out);
}

/** (context, x, weight, bias, eps) */
napi_value layerNorm(const Args& args) {
  contextOf(args).layerNorm(args.integer(1), args.integer(2), args.integer(3), args.number(4));
  return nullptr;
}

Gate gateOf(const Args& args, size_t index) {
  const int64_t gate = args.integer(index);
  check(gate >= 0 && gate <= 2, "a gate is not known");
  return static_cast<Gate>(gate);
}

/** (context, x, weight, bias, residual, gate, form) */
napi_value linear(const Args& args) {
  const LinearRequest request{args.integer(3), args.integer(4), gateOf(args, 5), formOf(args, 6)};
  return makeInteger(args.env(), contextOf(args).linear(args.integer(1), args.integer(2), request));
}

napi_value convert(const Args& args) {
  return makeInteger(args.env(), contextOf(args).convert(args.integer(1), formOf(args, 2)));
}

/** (context, x, y, scale) */
napi_value addScaled(const Args& args) {
  const FlushDenormals guard;
  contextOf(args).addScaled(args.integer(1), args.integer(2), args.number(3));
  return nullptr;
}

/** (context, x, factor) */
napi_value scale(const Args& args) {
  contextOf(args).scale(args.integer(1), args.number(2));
  return nullptr;
}

/** (context, x, cap) */
napi_value softCap(const Args& args) {
  contextOf(args).softCap(args.integer(1), args.number(2));
  return nullptr;
}

/** (context, x) */
napi_value gelu(const Args& args) {
  contextOf(args).gelu(args.integer(1));
  return nullptr;
}

/** (context, x, gate) */
napi_value gate(const Args& args) {
  return makeInteger(args.env(), contextOf(args).gate(args.integer(1), gateOf(args, 2)));
}

/** (context, qkv, cache, layer, numHeads, rope, qNorm, kNorm, normEps), the handles after numHeads -1 for none */
napi_value ropeAndCache(const Args& args) {
  const RopeRequest request{args.integer(4), args.integer(5), args.integer(6), args.integer(7), args.number(8)};
  contextOf(args).ropeAndCache(args.integer(1), args.integer(2), args.integer(3), request);
  return nullptr;
}

/** (context, qkv, cache, layer, numHeads, scale, slidingWindow, softCap, isCausal, form) */
napi_value pagedAttention(const Args& args) {
  const AttentionRequest request{args.integer(4), args.number(5), args.integer(6),
                                 args.number(7),  args.flag(8),   formOf(args, 9)};
  const int64_t out = contextOf(args).pagedAttention(args.integer(1), args.integer(2), args.integer(3), request);
  return makeInteger(args.env(), out);
}

/** (context, x, columns, form) */
napi_value gatherColumns(const Args& args) {
  const int64_t count = contextOf(args).tensor(args.integer(1)).cols;
  const int32_t* columns = args.ints(2, count).data;
  return makeInteger(args.env(), contextOf(args).gatherColumns(args.integer(1), columns, formOf(args, 3)));
}

/** (context, x, indices, count, first) */
napi_value gatherRows(const Args& args) {
  const int64_t count = args.integer(3);
  const int64_t first = args.integer(4);
  const int32_t* indices = args.ints(2, first + count).data + first;
  return makeInteger(args.env(), contextOf(args).gatherRows(args.integer(1), indices, count));
}

/** (context, logits, topK, normalize, starts, rows, weights) */
napi_value moeRoute(const Args& args) {
  Context& context = contextOf(args);
  const Activations& logits = context.tensor(args.integer(1));
  const int64_t topK = args.integer(2);
  const int64_t numPlaces = logits.rows * topK;
  context.moeRoute(args.integer(1), {topK, args.flag(3), args.ints(4, logits.cols + 1).data,
                                     args.ints(5, numPlaces).data, args.floats(6, numPlaces).data});
  return nullptr;
}

/** (context, x, y, rows, weights, first, count) */
napi_value addRows(const Args& args) {
  const int64_t first = args.integer(5);
  const int64_t count = args.integer(6);
  contextOf(args).addRows(args.integer(1), args.integer(2), args.ints(3, first + count).data + first,
                          args.floats(4, first + count).data + first, count);
  return nullptr;
}

/** (context, x, into) */
napi_value read(const Args& args) {
  const Activations& x = contextOf(args).tensor(args.integer(1));
  check(x.form == Form::F32, "only f32 can be read");
  const float* from = static_cast<const float*>(x.data);
  std::copy(from, from + x.rows * x.cols, args.floats(2, x.rows * x.cols).data);
  return nullptr;
}

napi_value releaseAfter(const Args& args) {
  contextOf(args).releaseAfter(args.integer(1));
  return nullptr;
}

/** (context) → [weights, kvCache, kvHost, arena] in bytes */
napi_value memory(const Args& args) {
  const Context& context = contextOf(args);
  return makeArray(args.env(), {makeInteger(args.env(), static_cast<int64_t>(context.weightBytes())),
                                makeInteger(args.env(), static_cast<int64_t>(context.kvBytes())),
                                makeInteger(args.env(), static_cast<int64_t>(context.kvHostBytes())),
                                makeInteger(args.env(), static_cast<int64_t>(context.arenaBytes()))});
}

/** (context) → bytes, int8, int4, bf16 and f32 operations a second, of the fastest rounds */
napi_value measureCeilings(const Args& args) {
  const Ceilings ceilings = contextOf(args).measureCeilings();
  const napi_env env = args.env();
  return makeArray(env, {makeNumber(env, ceilings.readBytes), makeNumber(env, ceilings.int8Operations),
                         makeNumber(env, ceilings.int4Operations), makeNumber(env, ceilings.bf16Operations),
                         makeNumber(env, ceilings.f32Operations)});
}

/** () → names of the instruction sets that this processor and system offer, fastest first */
napi_value listIsas(const Args& args) {
  std::vector<napi_value> names;
  for (const InstructionSet& set : instructionSets()) {
    if (!set.isTwin && set.isUsable()) names.push_back(makeText(args.env(), set.name));
  }
  return makeArray(args.env(), names);
}

/** () → why the system does not let this process use the processor's AMX; empty where it does or there is none */
napi_value amxRefusal(const Args& args) { return makeText(args.env(), tilesAccess().refusal); }

template <napi_value (*function)(const Args&)>
napi_property_descriptor method(const char* name) {
  return {name, nullptr, call<function>, nullptr, nullptr, nullptr, napi_enumerable, nullptr};
}

}  // namespace

NAPI_MODULE_INIT() {
  const napi_property_descriptor methods[] = {
      method<createContext>("createContext"), method<close>("close"),
      method<packLinear>("packLinear"),       method<loadVector>("loadVector"),
      method<loadRope>("loadRope"),           method<createKvCache>("createKvCache"),
      method<createKvHost>("createKvHost"),   method<moveKv>("moveKv"),
      method<equalKv>("equalKv"),             method<freeLinear>("freeLinear"),
      method<beginStep>("beginStep"),         method<endStep>("endStep"),
      method<embed>("embed"),                 method<rmsNorm>("rmsNorm"),
      method<linear>("linear"),               method<convert>("convert"),
      method<layerNorm>("layerNorm"),         method<addScaled>("addScaled"),
      method<scale>("scale"),                 method<softCap>("softCap"),
      method<gelu>("gelu"),                   method<gate>("gate"),
      method<moeRoute>("moeRoute"),           method<addRows>("addRows"),
      method<ropeAndCache>("ropeAndCache"),   method<pagedAttention>("pagedAttention"),
      method<gatherRows>("gatherRows"),       method<gatherColumns>("gatherColumns"),
      method<scoreTargets>("scoreTargets"),   method<read>("read"),
      method<diverge>("diverge"),
      method<releaseAfter>("releaseAfter"),   method<memory>("memory"),
      method<measureCeilings>("measureCeilings"), method<sample>("sample"),
      method<addGram>("addGram"),             method<factorize>("factorize"),
      method<roundRows>("roundRows"),         method<roundBlocks>("roundBlocks"),
      method<roundGroups>("roundGroups"),     method<readGroups>("readGroups"),
      method<packCodes>("packCodes"),         method<squaredErrors>("squaredErrors"),
      method<checksumRows>("checksumRows"),
      method<quadraticForms>("quadraticForms"), method<addSquares>("addSquares"),
      method<readWeight>("readWeight"),     method<areFinite>("areFinite"),
      method<listIsas>("listIsas"),           method<amxRefusal>("amxRefusal"),
      method<mapFile>("mapFile"),             method<dropPages>("dropPages"),
  };
  napi_define_properties(env, exports, sizeof(methods) / sizeof(methods[0]), methods);
  return exports;
}

}  // namespace millrace
