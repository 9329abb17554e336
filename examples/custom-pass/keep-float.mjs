import { definePass, float, sites, statisticsAt } from '@onnx-qc/qc';

/** qc compile MODEL --plugin ./keep-float.mjs -p "keep-float{spread=10},os+" ... */
export default definePass({
  name: 'keep-float',
  summary: 'leave a site in float when its channels differ too much',
  contract: 'exact',
  options: { spread: float('widest channel over the median channel', 1000, 1) },
  needs: ['calibrated'],
  run(graph, ctx, { spread }) {
    for (const site of sites(graph)) {
      const range = statisticsAt(site)?.range;
      const widths = range?.max.map((hi, i) => hi - (range.min[i] ?? 0)).sort();
      const [median, widest] = [widths?.[widths.length >> 1] ?? 0, widths?.at(-1) ?? 0];
      if (widest <= spread * median) continue;
      graph.replaceUses(site.y, site.x);
      graph.erase(site.node);
      ctx.count('kept');
    }
  },
});
