<?php

// What the plugin's pages ask for. Only administrators, only by POST.

try {
    require_once __DIR__ . '/../../../../core/php/core.inc.php';
    include_file('core', 'authentification', 'php');
    if (!isConnect('admin')) {
        throw new Exception(__('401 - Accès non autorisé', __FILE__), 401);
    }
    ajax::init();
    include_file('core', 'domoflux', 'class', 'domoflux');
    ajax::success(Domoflux\Ajax::answer((string) init('action'), $_POST));
} catch (Throwable $e) {
    // The core's page puts it into HTML.
    ajax::error(htmlspecialchars($e->getMessage(), ENT_QUOTES, 'UTF-8'), is_int($e->getCode()) ? $e->getCode() : 0);
}
