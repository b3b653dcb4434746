<?php
if (!isConnect('admin')) {
    throw new Exception('{{401 - Accès non autorisé}}');
}
include_file('core', 'domoflux', 'class', 'domoflux');

$text = static function ($value) {
    return htmlspecialchars((string) $value, ENT_QUOTES, 'UTF-8');
};
$daemon = Domoflux\Health::daemon();
?>
<div id="md_domofluxHealth">
    <?php if (!$daemon['ok']) { ?>
        <div class="alert alert-danger"><?php echo $text($daemon['message']); ?></div>
    <?php } else { ?>
        <p>
            <span class="label label-success">{{Démon}}</span>
            {{version}} <?php echo $text($daemon['version']); ?>,
            {{en marche depuis}} <?php echo $text(Domoflux\Health::duration((int) $daemon['uptime'])); ?><?php
            if ($daemon['memory'] !== null) {
                echo ', ' . $text(Domoflux\Health::memory($daemon['memory']));
            } ?>
        </p>
        <?php if ($daemon['message'] !== '') { ?>
            <div class="alert alert-warning"><?php echo $text($daemon['message']); ?></div>
        <?php } ?>
        <?php if (!empty($daemon['callback']['failing'])) { ?>
            <div class="alert alert-warning">{{Le démon ne joint pas Jeedom :}} <?php
                echo $text($daemon['callback']['last_error']['text'] ?? '');
            ?></div>
        <?php }
    } ?>
    <div class="table-responsive">
        <table class="table table-condensed">
            <thead>
                <tr>
                    <th>{{Nom}}</th>
                    <th>{{Type}}</th>
                    <th>{{État}}</th>
                    <th>{{Écoute sur}}</th>
                    <th>{{Connexions}}</th>
                    <th>{{Dernière erreur}}</th>
                    <th>{{Dernière communication}}</th>
                </tr>
            </thead>
            <tbody>
                <?php foreach (Domoflux\Health::flows() as $flow) { ?>
                    <tr>
                        <td><a href="index.php?v=d&m=domoflux&p=domoflux&id=<?php echo $text($flow['id']); ?>"><?php echo $text($flow['name']); ?></a></td>
                        <td><?php echo $text($flow['kind']); ?></td>
                        <td><span class="label label-<?php echo $flow['enabled'] && $flow['configured'] ? ($flow['ok'] ? 'success' : 'danger') : 'default'; ?>"><?php
                            echo $flow['enabled'] ? $text($flow['state']) : '{{désactivé}}';
                        ?></span></td>
                        <td><?php echo $text($flow['listening']); ?></td>
                        <td><?php echo $text($flow['clients']); ?></td>
                        <td><?php echo $text($flow['error']); ?></td>
                        <td><?php echo $text($flow['heard']); ?></td>
                    </tr>
                <?php } ?>
            </tbody>
        </table>
    </div>
</div>
