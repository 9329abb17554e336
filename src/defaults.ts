/** What is taken where nothing else is said, on the command line and from code; `defaultTarget` has the target. */
export const defaults: { readonly scheme: string; readonly seq: number; readonly samples: number; readonly decode: number } = {
  scheme: 'w8a8',
  /** Tokens of a window of text. */
  seq: 256,
  /** The most of calibration data; an evaluation takes all that there are. */
  samples: 128,
  /** Last tokens of a sample of calibration that go in one at a time. */
  decode: 4,
};
