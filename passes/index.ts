/** What can be done to a graph. */
import { biasCorrect } from './quantize/bias-correct.ts';
import { calibrate } from './observe/calibrate.ts';
import { eachBlock } from './blocks/each-block.ts';
import { deadCode } from './cleanup/dead-code.ts';
import { dynamicRanges } from './quantize/dynamic-ranges.ts';
import { foldConstants } from './cleanup/fold-constants.ts';
import { tieWeights } from './cleanup/tie-weights.ts';
import { closeCaches } from './channels/close-caches.ts';
import { foldChannels } from './channels/fold-channels.ts';
import { openCaches } from './channels/open-caches.ts';
import type { Pass } from './infra/pass.ts';
import { clip } from './methods/clip/clip.ts';
import { gptq } from './methods/gptq/gptq.ts';
import { markSites } from './quantize/mark-sites.ts';
import { observe } from './observe/observe.ts';
import { awq } from './methods/awq/awq.ts';
import { equalize } from './methods/equalize/equalize.ts';
import { osPlus } from './methods/os-plus/os-plus.ts';
import { quantize } from './quantize/quantize.ts';
import { raise } from './raise/raise.ts';
import { smooth } from './methods/smooth/smooth.ts';
import { rptq } from './methods/rptq/rptq.ts';

export { collect } from './observe/calibrate.ts';
export { binCentre, binOf, histogramOf, quantile, type Histogram } from './observe/histogram.ts';
export { reductions } from './observe/reductions/index.ts';
export type { Gram } from './observe/reductions/gram.ts';
export type { RootMeanSquare } from './observe/reductions/rms.ts';
export type { TokenRange } from './observe/reductions/token-range.ts';
export { setStatistic, statistics, statisticsAt, statisticsOf, type Statistics } from './observe/statistics.ts';
export { blocks, type Block } from './blocks/blocks.ts';
export { compare, type Comparison } from './blocks/compare.ts';
export { ContractCheck, exactTolerance } from './blocks/contract.ts';
export { referenceOf, type Reference } from './blocks/reference.ts';
export { giveOut, runToLast, sweep, type SampleProgram, type SweepContext, type SweepSettings } from './blocks/sweep.ts';
export { isCacheKey, movedCaches, type MovedCache } from './channels/cache-metadata.ts';
export { freedomAbove, freedomAt, freedomBelow } from './channels/freedom-at.ts';
export { largestDifference } from './infra/difference.ts';
export { runOnce, type Executor, type Feeds, type HostTensor, type Program, type Spool } from './infra/executor.ts';
export { Ledger, nameOf, refusalText, refusedAt, type Candidate, type LedgerEntry, type Refused } from './infra/ledger.ts';
export { PassManager, Plan, type PassReport, type RunReport, type RunSettings } from './infra/manager.ts';
export { choice, flag, float, int, suggestion, text, type Option, type Options, type OptionValues } from './infra/options.ts';
export {
  definePass,
  sampleAt,
  type Contract,
  type Decoding,
  type Pass,
  type PassContext,
  type PassSpec,
  type Samples,
  type Services,
} from './infra/pass.ts';
export type { Part, Reduction, Rows } from './infra/reduction.ts';
export { flattened, formatPipeline, parsePipeline, type PassCall } from './infra/pipeline.ts';
export { attentionFed, attentionResult, attentionsOf, cachesOf, headsOf, isAttention } from './model/attentions.ts';
export { isHead } from './model/head.ts';
export { linearsOf, type Linear } from './model/linears.ts';
export { isNorm } from './model/norms.ts';
export { hasRole, operators, recordOf } from './operators/index.ts';
export type { Down, Heads, Onward, OperatorRecord, OperatorRole, Up } from './operators/record.ts';
export { plainNames, schemeNamed, schemes } from './quantize/schemes.ts';

/** Every pass that comes with `qc`, in the order in which a compile usually runs them. */
export const passes: readonly Pass[] = [
  raise,
  foldConstants,
  tieWeights,
  openCaches,
  markSites,
  observe,
  calibrate,
  rptq,
  osPlus,
  equalize,
  smooth,
  awq,
  foldChannels,
  gptq,
  clip,
  dynamicRanges,
  quantize,
  biasCorrect,
  closeCaches,
  deadCode,
  eachBlock,
];
