/** A 64-bit integer as its two halves, the form in which the decoder gives it; a plain number where it is exact. */
export type Int64 = number | { readonly low: number; readonly high: number; readonly unsigned?: boolean };

/** Fields that the schema does not know, as their bytes; they are written back behind the known ones. */
export interface Unknowns {
  readonly $unknowns?: readonly Uint8Array[];
}

type Entries = readonly StringStringEntryProto[];

export interface ModelProto extends Unknowns {
  readonly irVersion?: Int64;
  readonly opsetImport?: readonly OperatorSetIdProto[];
  readonly producerName?: string;
  readonly producerVersion?: string;
  readonly domain?: string;
  readonly modelVersion?: Int64;
  readonly docString?: string;
  readonly graph?: GraphProto | null;
  readonly metadataProps?: Entries;
  readonly trainingInfo?: readonly TrainingInfoProto[];
  readonly functions?: readonly FunctionProto[];
  readonly configuration?: readonly DeviceConfigurationProto[];
}

export interface GraphProto extends Unknowns {
  readonly node?: readonly NodeProto[];
  readonly name?: string;
  readonly initializer?: readonly TensorProto[];
  readonly sparseInitializer?: readonly SparseTensorProto[];
  readonly docString?: string;
  readonly input?: readonly ValueInfoProto[];
  readonly output?: readonly ValueInfoProto[];
  readonly valueInfo?: readonly ValueInfoProto[];
  readonly quantizationAnnotation?: readonly TensorAnnotation[];
  readonly metadataProps?: Entries;
}

export interface NodeProto extends Unknowns {
  readonly input?: readonly string[];
  readonly output?: readonly string[];
  readonly name?: string;
  readonly opType?: string;
  readonly domain?: string;
  readonly overload?: string;
  readonly attribute?: readonly AttributeProto[];
  readonly docString?: string;
  readonly metadataProps?: Entries;
  readonly deviceConfigurations?: readonly NodeDeviceConfigurationProto[];
}

export interface AttributeProto extends Unknowns {
  readonly name?: string;
  readonly refAttrName?: string;
  readonly docString?: string;
  readonly type?: number;
  readonly f?: number;
  readonly i?: Int64;
  readonly s?: Uint8Array;
  readonly t?: TensorProto | null;
  readonly g?: GraphProto | null;
  readonly sparseTensor?: SparseTensorProto | null;
  readonly tp?: TypeProto | null;
  readonly floats?: readonly number[];
  readonly ints?: readonly Int64[];
  readonly strings?: readonly Uint8Array[];
  readonly tensors?: readonly TensorProto[];
  readonly graphs?: readonly GraphProto[];
  readonly sparseTensors?: readonly SparseTensorProto[];
  readonly typeProtos?: readonly TypeProto[];
}

export interface TensorProto extends Unknowns {
  readonly dims?: readonly Int64[];
  readonly dataType?: number;
  readonly segment?: { readonly begin?: Int64; readonly end?: Int64 } | null;
  readonly floatData?: readonly number[];
  readonly int32Data?: readonly number[];
  readonly stringData?: readonly Uint8Array[];
  readonly int64Data?: readonly Int64[];
  readonly name?: string;
  readonly docString?: string;
  readonly rawData?: Uint8Array;
  readonly externalData?: Entries;
  readonly dataLocation?: number;
  readonly doubleData?: readonly number[];
  readonly uint64Data?: readonly Int64[];
  readonly metadataProps?: Entries;
}

export interface SparseTensorProto extends Unknowns {
  readonly values?: TensorProto | null;
  readonly indices?: TensorProto | null;
  readonly dims?: readonly Int64[];
}

export interface ValueInfoProto extends Unknowns {
  readonly name?: string;
  readonly type?: TypeProto | null;
  readonly docString?: string;
  readonly metadataProps?: Entries;
}

export interface TypeProto extends Unknowns {
  readonly tensorType?: TensorTypeProto | null;
  readonly sequenceType?: ({ readonly elemType?: TypeProto | null } & Unknowns) | null;
  readonly mapType?: ({ readonly keyType?: number; readonly valueType?: TypeProto | null } & Unknowns) | null;
  readonly optionalType?: ({ readonly elemType?: TypeProto | null } & Unknowns) | null;
  readonly sparseTensorType?: TensorTypeProto | null;
  readonly opaqueType?: ({ readonly domain?: string; readonly name?: string } & Unknowns) | null;
  readonly denotation?: string;
}

export interface TensorTypeProto extends Unknowns {
  readonly elemType?: number;
  readonly shape?: ({ readonly dim?: readonly DimensionProto[] } & Unknowns) | null;
}

export interface DimensionProto extends Unknowns {
  readonly dimValue?: Int64;
  readonly dimParam?: string;
  readonly denotation?: string;
}

export interface FunctionProto extends Unknowns {
  readonly name?: string;
  readonly input?: readonly string[];
  readonly output?: readonly string[];
  readonly attribute?: readonly string[];
  readonly attributeProto?: readonly AttributeProto[];
  readonly node?: readonly NodeProto[];
  readonly docString?: string;
  readonly opsetImport?: readonly OperatorSetIdProto[];
  readonly domain?: string;
  readonly overload?: string;
  readonly valueInfo?: readonly ValueInfoProto[];
  readonly metadataProps?: Entries;
}

export interface OperatorSetIdProto extends Unknowns {
  readonly domain?: string;
  readonly version?: Int64;
}

export interface StringStringEntryProto extends Unknowns {
  readonly key?: string;
  readonly value?: string;
}

export interface TensorAnnotation extends Unknowns {
  readonly tensorName?: string;
  readonly quantParameterTensorNames?: Entries;
}

export interface TrainingInfoProto extends Unknowns {
  readonly initialization?: GraphProto | null;
  readonly algorithm?: GraphProto | null;
  readonly initializationBinding?: Entries;
  readonly updateBinding?: Entries;
}

export interface DeviceConfigurationProto extends Unknowns {
  readonly name?: string;
  readonly numDevices?: number;
  readonly device?: readonly string[];
}

export interface NodeDeviceConfigurationProto extends Unknowns {
  readonly configurationId?: string;
  readonly shardingSpec?: readonly ShardingSpecProto[];
  readonly pipelineStage?: number;
}

export interface ShardingSpecProto extends Unknowns {
  readonly tensorName?: string;
  readonly device?: readonly Int64[];
  readonly indexToDeviceGroupMap?: readonly ({ readonly key?: Int64; readonly value?: readonly Int64[] } & Unknowns)[];
  readonly shardedDim?: readonly ShardedDimProto[];
}

export interface ShardedDimProto extends Unknowns {
  readonly axis?: Int64;
  readonly simpleSharding?: readonly ({ readonly dimValue?: Int64; readonly dimParam?: string; readonly numShards?: Int64 } & Unknowns)[];
}

/** The messages that are read and written on their own. */
export interface Messages {
  readonly ModelProto: ModelProto;
  readonly GraphProto: GraphProto;
  readonly NodeProto: NodeProto;
  readonly AttributeProto: AttributeProto;
  readonly TensorProto: TensorProto;
  readonly SparseTensorProto: SparseTensorProto;
  readonly ValueInfoProto: ValueInfoProto;
  readonly TypeProto: TypeProto;
  readonly FunctionProto: FunctionProto;
}
