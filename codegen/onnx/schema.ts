/** One field of a message, in the JSON form that protobufjs reads. */
export interface FieldDescriptor {
  readonly id: number;
  readonly type: string;
  readonly rule?: 'repeated';
  readonly options?: { readonly packed: true };
}

/** One message. The `proto2` edition keeps the presence of scalars, so that an explicit zero survives a round trip. */
export interface MessageDescriptor {
  readonly edition: 'proto2';
  readonly fields: Record<string, FieldDescriptor>;
  readonly nested?: Record<string, MessageDescriptor>;
}

// Enumerations are declared as `int32`: the same bytes, and a number that we do not know yet survives.
/** The messages of ONNX, IR version 14. */
export const onnxSchema: { readonly nested: Record<string, MessageDescriptor> } = {
  nested: {
    ModelProto: message({
      irVersion: 'int64 1',
      producerName: 'string 2',
      producerVersion: 'string 3',
      domain: 'string 4',
      modelVersion: 'int64 5',
      docString: 'string 6',
      graph: 'GraphProto 7',
      opsetImport: 'OperatorSetIdProto[] 8',
      metadataProps: 'StringStringEntryProto[] 14',
      trainingInfo: 'TrainingInfoProto[] 20',
      functions: 'FunctionProto[] 25',
      configuration: 'DeviceConfigurationProto[] 26',
    }),
    GraphProto: message({
      node: 'NodeProto[] 1',
      name: 'string 2',
      initializer: 'TensorProto[] 5',
      docString: 'string 10',
      input: 'ValueInfoProto[] 11',
      output: 'ValueInfoProto[] 12',
      valueInfo: 'ValueInfoProto[] 13',
      quantizationAnnotation: 'TensorAnnotation[] 14',
      sparseInitializer: 'SparseTensorProto[] 15',
      metadataProps: 'StringStringEntryProto[] 16',
    }),
    NodeProto: message({
      input: 'string[] 1',
      output: 'string[] 2',
      name: 'string 3',
      opType: 'string 4',
      attribute: 'AttributeProto[] 5',
      docString: 'string 6',
      domain: 'string 7',
      overload: 'string 8',
      metadataProps: 'StringStringEntryProto[] 9',
      deviceConfigurations: 'NodeDeviceConfigurationProto[] 10',
    }),
    AttributeProto: message({
      name: 'string 1',
      f: 'float 2',
      i: 'int64 3',
      s: 'bytes 4',
      t: 'TensorProto 5',
      g: 'GraphProto 6',
      floats: 'float[] 7',
      ints: 'int64[] 8',
      strings: 'bytes[] 9',
      tensors: 'TensorProto[] 10',
      graphs: 'GraphProto[] 11',
      docString: 'string 13',
      tp: 'TypeProto 14',
      typeProtos: 'TypeProto[] 15',
      type: 'int32 20',
      refAttrName: 'string 21',
      sparseTensor: 'SparseTensorProto 22',
      sparseTensors: 'SparseTensorProto[] 23',
    }),
    TensorProto: message(
      {
        dims: 'int64[] 1',
        dataType: 'int32 2',
        segment: 'Segment 3',
        floatData: 'packed float[] 4',
        int32Data: 'packed int32[] 5',
        stringData: 'bytes[] 6',
        int64Data: 'packed int64[] 7',
        name: 'string 8',
        rawData: 'bytes 9',
        doubleData: 'packed double[] 10',
        uint64Data: 'packed uint64[] 11',
        docString: 'string 12',
        externalData: 'StringStringEntryProto[] 13',
        dataLocation: 'int32 14',
        metadataProps: 'StringStringEntryProto[] 16',
      },
      { Segment: message({ begin: 'int64 1', end: 'int64 2' }) },
    ),
    SparseTensorProto: message({ values: 'TensorProto 1', indices: 'TensorProto 2', dims: 'int64[] 3' }),
    ValueInfoProto: message({ name: 'string 1', type: 'TypeProto 2', docString: 'string 3', metadataProps: 'StringStringEntryProto[] 4' }),
    TypeProto: message(
      {
        tensorType: 'Tensor 1',
        sequenceType: 'Sequence 4',
        mapType: 'Map 5',
        denotation: 'string 6',
        opaqueType: 'Opaque 7',
        sparseTensorType: 'SparseTensor 8',
        optionalType: 'Optional 9',
      },
      {
        Tensor: message({ elemType: 'int32 1', shape: 'TensorShapeProto 2' }),
        Sequence: message({ elemType: 'TypeProto 1' }),
        Map: message({ keyType: 'int32 1', valueType: 'TypeProto 2' }),
        Optional: message({ elemType: 'TypeProto 1' }),
        SparseTensor: message({ elemType: 'int32 1', shape: 'TensorShapeProto 2' }),
        Opaque: message({ domain: 'string 1', name: 'string 2' }),
      },
    ),
    TensorShapeProto: message(
      { dim: 'Dimension[] 1' },
      { Dimension: message({ dimValue: 'int64 1', dimParam: 'string 2', denotation: 'string 3' }) },
    ),
    FunctionProto: message({
      name: 'string 1',
      input: 'string[] 4',
      output: 'string[] 5',
      attribute: 'string[] 6',
      node: 'NodeProto[] 7',
      docString: 'string 8',
      opsetImport: 'OperatorSetIdProto[] 9',
      domain: 'string 10',
      attributeProto: 'AttributeProto[] 11',
      valueInfo: 'ValueInfoProto[] 12',
      overload: 'string 13',
      metadataProps: 'StringStringEntryProto[] 14',
    }),
    OperatorSetIdProto: message({ domain: 'string 1', version: 'int64 2' }),
    StringStringEntryProto: message({ key: 'string 1', value: 'string 2' }),
    TensorAnnotation: message({ tensorName: 'string 1', quantParameterTensorNames: 'StringStringEntryProto[] 2' }),
    TrainingInfoProto: message({
      initialization: 'GraphProto 1',
      algorithm: 'GraphProto 2',
      initializationBinding: 'StringStringEntryProto[] 3',
      updateBinding: 'StringStringEntryProto[] 4',
    }),
    DeviceConfigurationProto: message({ name: 'string 1', numDevices: 'int32 2', device: 'string[] 3' }),
    NodeDeviceConfigurationProto: message({ configurationId: 'string 1', shardingSpec: 'ShardingSpecProto[] 2', pipelineStage: 'int32 3' }),
    ShardingSpecProto: message({
      tensorName: 'string 1',
      device: 'int64[] 2',
      indexToDeviceGroupMap: 'IntIntListEntryProto[] 3',
      shardedDim: 'ShardedDimProto[] 4',
    }),
    IntIntListEntryProto: message({ key: 'int64 1', value: 'int64[] 2' }),
    ShardedDimProto: message({ axis: 'int64 1', simpleSharding: 'SimpleShardedDimProto[] 2' }),
    SimpleShardedDimProto: message({ dimValue: 'int64 1', dimParam: 'string 2', numShards: 'int64 3' }),
  },
};

/** Numbers of AttributeProto.type. */
export const attributeTypes = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
  tensors: 9,
  graphs: 10,
  sparseTensor: 11,
  sparseTensors: 12,
  typeProto: 13,
  typeProtos: 14,
} as const;

/** TensorProto.data_location of a tensor whose data lies in a side file. */
export const externalLocation = 1;

/** A field is written `[packed] type[[]] number`. */
function message(fields: Readonly<Record<string, string>>, nested?: Record<string, MessageDescriptor>): MessageDescriptor {
  const described = Object.fromEntries(Object.entries(fields).map(([name, text]) => [name, field(text)]));
  return nested ? { edition: 'proto2', fields: described, nested } : { edition: 'proto2', fields: described };
}

function field(text: string): FieldDescriptor {
  const [, packed, type = '', repeated, id] = /^(packed )?(\w+)(\[\])? (\d+)$/.exec(text) ?? [];
  if (!repeated) return { id: Number(id), type };
  return packed ? { id: Number(id), type, rule: 'repeated', options: { packed: true } } : { id: Number(id), type, rule: 'repeated' };
}
