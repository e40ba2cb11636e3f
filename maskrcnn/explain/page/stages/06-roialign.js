'use strict';

// From a region of any size to a grid of fixed size.

const CELLS_ASPECT = 1.5;

/** Opens sheets of channels as they are asked for, each once. */
function createChannels(group, onReady) {
  const opened = new Map();
  return (key) => {
    const sheet = group?.[String(key)];
    if (sheet && !opened.has(key)) opened.set(key, openSheet(sheet, onReady));
    return opened.get(key) ?? null;
  };
}

defineStage({
  id: 'roialign',
  lead: ({ data: { rois } }) => [
    'The heads want the same number of features for each region of interest (RoI), be it 20 pixels wide or 500.',
    ...describeLayer(rois),
  ],
  build(page, body) {
    const {
      data: { rois, masks, features, picture },
      selection,
    } = page;
    const boxes = float32Of(rois.boxes);
    if (!boxes.length) {
      body.append(element('p', {}, 'There are no RoIs: no proposal is left.'));
      return;
    }
    const { size, cells: pooledSize, sampling_ratio: ratio, aligned } = rois.box;
    const layer = rois.roi_layer;
    const hasBins = showsBins(rois);
    const boxNow = () => boxAt(boxes, selection.roi);
    const levelNow = () => pyramidLevel(boxNow(), rois.strides.length, rois.finest_size);
    const windowNow = () => {
      const stride = rois.strides[levelNow()];
      const near = closeUp(
        boxNow().map((corner) => corner / stride),
        CELLS_ASPECT,
        0.2,
        6,
      );
      return movedInto(near, ...picture.padded.map((side) => side / stride));
    };

    const norms = rois.level_names.map((name) => {
      const level = features.find((one) => one.name === name);
      return level ? openSheet(level.norm, () => cells.update()) : null;
    });
    const pooledNorms = openSheet(rois.box.pooled_norm, () => updateAll());
    const maskNorms = masks && openSheet(masks.pooled_norm, () => updateAll());
    const channelsOfRoi = createChannels(rois.pooled, () => updateAll());
    const channelsOfDetection = createChannels(masks?.pooled, () => updateAll());
    /** The chosen channel where there are channels, and otherwise the norm. */
    const pooledOf = (channels, norms, index) => {
      const shownChannel = channelOf(channels);
      return shownChannel === null ? norms.tile(index) : channels.tile(shownChannel);
    };
    const channelOf = (channels) =>
      what.get() === 'channel' && channels ? Math.min(channel.get(), channels.count - 1) : null;
    const pooledNow = () => pooledOf(channelsOfRoi(selection.roi), pooledNorms, selection.roi);
    const maskPooledNow = () => {
      const detection = selection.detectionOfRoi;
      return detection === null ? null : pooledOf(channelsOfDetection(detection), maskNorms, detection);
    };

    const bin = {
      row: Math.floor(size / 2),
      column: Math.floor(size / 2),
      set({ row, column }) {
        // A click on the very edge lies beyond the last bin.
        [this.row, this.column] = [row, column].map((at) => Math.max(0, Math.min(size - 1, at)));
        updateAll();
        announce(`Bin in row ${this.row + 1}, column ${this.column + 1}`);
      },
    };
    const reason = element('p', {});
    const binReading = element('p', { class: 'reading' });
    const draw = (view) => {
      const [box, level, seen] = [boxNow(), levelNow(), windowNow()];
      const stride = rois.strides[level];
      const map = norms[level]?.tile(0);
      const crop = map && cropMap(map, seen);
      if (shown.get() === 'picture') {
        drawImage(view, page.picture, [0, 0, picture.width / stride, picture.height / stride], { smooth: true });
      } else if (crop) {
        drawImage(view, mapPicture(crop.map), crop.box);
      }
      drawCellGrid(view, seen);
      const chosenBin = hasBins ? bin.row * size + bin.column : -1;
      const grid = isRoIAlign(layer) ? roiAlignGrid(box, stride, size, ratio, aligned) : { points: [] };
      if (isRoIAlign(layer)) {
        if (roiPool.input.checked) drawRoiPool(view, box, stride, size);
        drawRoiAlign(view, grid, size, chosenBin);
      } else {
        const drawBins = layer === 'pool' ? drawRoiPool : drawRoiWarp;
        drawBins(view, box, stride, size, chosenBin);
      }
      strokeBox(
        view,
        box.map((corner) => corner / stride),
        { colour: COLOURS.orange, width: 3 },
      );
      reason.textContent = describeLevelChoice(box, rois);
      if (hasBins) {
        const shownChannel = channelOf(channelsOfRoi(selection.roi));
        const value = pooledNow()?.values[chosenBin];
        binReading.textContent = `Bin in row ${bin.row + 1}, column ${bin.column + 1}`;
        if (value !== undefined)
          binReading.textContent += `: ${describeBin(rois, grid.points.length / size ** 2, value, shownChannel)}`;
        if (shownChannel !== null && shown.get() === 'map')
          binReading.textContent += ' The map below the bins shows the norm over all channels, not this one.';
      }
      return {
        chosen: String(selection.roi),
        level: rois.level_names[level],
        points: String(grid.points.length),
        ready: String(Boolean(crop) || shown.get() === 'picture'),
      };
    };

    const whole = createRoiFigure(page, 'roialign', boxes);
    const cells = createFigure({
      name: 'roialign-cells',
      aspect: CELLS_ASPECT,
      tallest: 480,
      window: windowNow,
      draw,
      label: isRoIAlign(layer)
        ? 'The cells of the level around the RoI, with the bins and samples of RoIAlign and the cells of RoIPool'
        : 'The cells of the level around the RoI, with those that the network takes for it',
    });
    const pooled = createPooledMap({
      name: 'roialign-pooled',
      title: `Box head: ${pooledSize} × ${pooledSize}`,
      mapOf: pooledNow,
      bin: hasBins ? bin : null,
      size: pooledSize,
    });
    const maskPooled =
      masks &&
      createPooledMap({
        name: 'roialign-mask-pooled',
        title: `Mask head: ${masks.box.cells} × ${masks.box.cells}`,
        mapOf: maskPooledNow,
        size: masks.box.cells,
      });
    const maskNote = createHint('');

    const what = createNormChoice('roialign-what', 'Pooled', () => updateAll());
    const channel = createChannelSlider('roialign-channel', what, () => updateAll());
    const shown = createChoice({
      id: 'roialign-shown',
      label: 'Below the bins',
      value: 'map',
      onChange: () => cells.update(),
      options: [
        { value: 'map', text: 'norm of the level' },
        { value: 'picture', text: 'picture' },
      ],
    });
    const roiPool = createCheckbox({
      id: 'roialign-roipool',
      label: 'RoIPool’s cells',
      checked: true,
      onChange: () => cells.update(),
    });
    const updateAll = () => {
      const channels = rois.pooled?.[String(selection.roi)];
      channel.root.hidden = !channels;
      what.root.hidden = !channels;
      if (channels) channel.limit(channels.count - 1);
      if (maskPooled) {
        const detection = selection.detectionOfRoi;
        maskPooled.root.hidden = detection === null;
        maskNote.textContent =
          detection === null
            ? 'This RoI became no detection, so the mask head does not look at it.'
            : 'The mask head looks at the refined box.';
        maskPooled.update();
      }
      cells.update();
      pooled.update();
    };
    selection.onChange(updateAll);

    const halfCell =
      aligned || !isRoIAlign(layer)
        ? ''
        : createHint(
            'The bins lie half a cell too far to the right and down. These weights were ' +
              'trained so (aligned = false): the centre of the first cell is taken for its corner.',
          );
    const pooledMaps = element('div', { class: 'small-maps' }, ...[pooled.root, maskPooled?.root].filter(Boolean));
    arrange(body, {
      controls: [createRoiSelect(page, 'roialign-roi'), shown, ...(isRoIAlign(layer) ? [roiPool] : []), what, channel],
      figures: [cells, createPoolingLegend(layer), halfCell],
      panel: [whole, reason, pooledMaps, binReading, maskNote],
    });
    updateAll();
  },
});
