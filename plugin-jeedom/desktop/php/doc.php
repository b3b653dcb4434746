<?php
if (!isConnect()) {
    throw new Exception('{{401 - Accès non autorisé}}');
}
include_file('core', 'domoflux', 'class', 'domoflux');
?>
<div class="row row-overflow">
    <div class="col-lg-8 domoflux-manual">
        <?php echo Domoflux\Manual::html((string) init('page')); ?>
    </div>
</div>
<?php
include_file('desktop', 'domoflux', 'css', 'domoflux');
