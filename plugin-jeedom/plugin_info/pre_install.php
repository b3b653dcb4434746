<?php

/*
 * This file is part of domoflux, a plugin of Jeedom. It is free software under the GPL, version 3 or later.
 */

require_once __DIR__ . '/../../../core/php/core.inc.php';

/**
 * The core calls it before it writes the files of a new version over those of the old one. Those that the new one does
 * not have any more would stay.
 */
function domoflux_pre_update()
{
    foreach (['core/class', 'core/template', 'desktop', 'docs', 'resources/bin'] as $dir) {
        $path = __DIR__ . '/../' . $dir;
        if (is_dir($path)) {
            rrmdir($path);
        }
    }
}
